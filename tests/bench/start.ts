import { agent } from "../support/agent.ts";
import { type Bench, type BenchOptions, type Figure, median, Unavailable } from "./report.ts";

/** Time of `agent version`, compared with an executable that only prints a line. */
export const bench: Bench = {
  name: "start",
  what: "`agent version` against a compiled hello world",
  async *run({ quick }: BenchOptions): AsyncIterable<Figure> {
    const folder = await Deno.makeTempDir({ prefix: "agent-bench-" });
    try {
      const hello = await compileHello(folder);
      const rounds = quick ? 5 : 30;
      const { command, args } = agent.command("version");
      const ours: number[] = [];
      const theirs: number[] = [];
      // In turns, so that other load affects both.
      for (let round = 0; round < rounds; round++) {
        ours.push(await startMs(command, args));
        theirs.push(await startMs(hello, []));
      }
      yield {
        name: "agent version",
        measured: `${median(ours).toFixed(1)} ms`,
        reference: `${median(theirs).toFixed(1)} ms for hello world`,
        ratio: median(ours) / median(theirs),
        target: { atMost: 2 },
        notes: [`median of ${rounds} starts each, in turns`],
      };
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
};

/**
 * Compiled by this Deno, with the runtime of DENORT_BIN.
 *
 * @throws {Unavailable} if there is no runtime for this Deno.
 */
export async function compileHello(folder: string): Promise<string> {
  const source = `${folder}/hello.ts`;
  const executable = `${folder}/hello`;
  await Deno.writeTextFile(
    source,
    `Deno.stdout.writeSync(new TextEncoder().encode("hello\\n"));\n`,
  );
  const { success, stderr } = await new Deno.Command(
    Deno.execPath(),
    {
      args: ["compile", "-q", "--no-config", "--no-code-cache", "--output", executable, source],
      env: { NO_COLOR: "1" },
      stdout: "null",
    },
  ).output();
  if (!success) {
    const said = new TextDecoder().decode(stderr);
    const [, cause] = /Caused by:\s+(?:0: )?(.+)/.exec(said) ?? [];
    throw new Unavailable(`hello world did not compile: ${cause ?? said.trim().split("\n")[0]}`);
  }
  return executable;
}

/** Wall-clock time of one run, in ms. */
export async function startMs(command: string, args: string[]): Promise<number> {
  const start = performance.now();
  const { success, stderr } = await new Deno.Command(command, { args, stdout: "null" }).output();
  const took = performance.now() - start;
  if (!success) {
    throw new Error(`${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  }
  return took;
}
