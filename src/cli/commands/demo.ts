import { tmpdir } from "node:os";
import { join } from "node:path";
import { reasonOf } from "../../base/fs/reason.ts";
import type { Output } from "../../base/env.ts";
import { formatDuration } from "../../base/durations.ts";
import { UserError } from "../../base/errors.ts";
import { aborted } from "../../base/lifetimes.ts";
import { selfCommand } from "../../base/self.ts";
import { noGrants } from "../../sandbox/grants.ts";
import { colors, widthOf } from "../output/terminal.ts";
import { command } from "../command.ts";
import { type Hosts, startHosts } from "../demo/hosts.ts";
import { passedVariables, ProgramFailed } from "../demo/programs.ts";
import { report } from "../demo/report.ts";
import { type Story, tellStory } from "../demo/story.ts";

export default command({
  path: "demo",
  summary: "See the main job done: a private CA, a coordinator, two workers, real tasks",
  description: `Starts a coordinator and two workers as processes of their own on this machine, over
    mutual TLS with a CA made for the occasion; has them run a dozen commands, one that fails and is
    tried again, one that is cancelled, one that leaves a file; checks the results, and removes it
    all. Takes a few seconds, needs no network and changes nothing outside of a temporary folder.`,
  options: {
    stay: { kind: "flag", help: "Keep it running afterwards for exploring, until Ctrl-C" },
  },
  examples: [
    { line: "agent demo", does: "All of it, in a few seconds" },
    { line: "agent demo --stay", does: "Leaves it running, and says how to look around" },
  ],
  exits: { 1: "Something did not go as it should" },
  // Three roles have to drain before their folder can be removed.
  graceMs: 15_000,
  grants: () => ({
    ...noGrants,
    read: [folderOfDemo()],
    write: [folderOfDemo()],
    run: [selfCommand().command],
    env: [...passedVariables, "TMP", "TEMP"],
  }),
  async run({ env, options }) {
    const began = env.clock.monotonic();
    const folder = folderOfDemo();
    const { green, dim } = colors(env.stderr);
    const step = async (name: string, text: string) => {
      const at = formatDuration(env.clock.monotonic() - began);
      await env.stderr.write(`${green(name.padEnd(14))}${text} ${dim(`(${at})`)}\n`);
    };
    const tell = (name: string, line: string) =>
      env.stderr.write(`${dim(`${name.padEnd(12)}│ `)}${line}\n`);

    await using open = new AsyncDisposableStack();
    await makeFolder(folder);
    open.defer(() => Deno.remove(folder, { recursive: true }));
    try {
      const hosts = open.use(await startHosts(folder, env, step));
      await env.stderr.write("\n");
      const broken = hosts.broken.then((error) => {
        throw error;
      });
      broken.catch(() => {/* Told by the race, if it comes before the end. */});
      const story = await Promise.race([tellStory(hosts, folder, tell), broken]);
      const result = { ...story, seconds: (env.clock.monotonic() - began) / 1000 };
      if (options.stay) {
        await env.stderr.write(`\n${pageOf(result, env.stderr)}\n${howToExplore(hosts)}`);
        await Promise.race([aborted(env.signal), broken]);
      }
      return { ...result, stay: options.stay };
    } catch (error) {
      // A role that is stopped together with us has not failed.
      env.signal.throwIfAborted();
      if (error instanceof ProgramFailed) await env.stderr.write(`\n${error.output}`);
      throw error;
    }
  },
  text: (result, { env }) => result.stay ? "" : `\n${pageOf(result, env.stdout)}\n${howToGoOn()}`,
});

/**
 * The process's own id names it, because its grants are worked out before anything is made. A
 * folder of this name that is there already was left by a process that is gone.
 */
function folderOfDemo(): string {
  return join(tmpdir(), `agent-demo-${Deno.pid}`);
}

async function makeFolder(folder: string): Promise<void> {
  try {
    const facts = await Deno.lstat(folder);
    await Deno.remove(folder, { recursive: facts.isDirectory });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  // Not recursive: fails if somebody else puts something here in this instant.
  await Deno.mkdir(folder, { mode: 0o700 }).catch((cause) => {
    throw new UserError(`Could not make the temporary folder "${folder}": ${reasonOf(cause)}`, {
      next: "Set TMPDIR to a folder that can be written",
      cause,
    });
  });
}

function pageOf(result: Story & { seconds: number }, output: Output): string {
  const page = report(result, { colors: colors(output), width: widthOf(output) });
  return `${page}\nAll of it went well, in ${result.seconds.toFixed(1)} s.\n`;
}

/** As it was started: the name to paste. */
const program = Deno.build.standalone ? "agent" : "scripts/agent";

function howToGoOn(): string {
  return lines([
    "Try next:",
    `  ${program} demo --stay    keeps it running, to look around`,
    `  ${program} tls init       makes a CA for real hosts; README.md goes on from there`,
    `  ${program} --help         all that there is`,
  ]);
}

function howToExplore({ configFile }: Hosts): string {
  return lines([
    "It keeps running until Ctrl-C. In another terminal:",
    `  export AGENT_CONFIG=${configFile}`,
    `  ${program} workers list`,
    `  ${program} submit --follow -- uname -a`,
    `  ${program} task list`,
  ]);
}

function lines(all: string[]): string {
  return all.map((line) => `${line}\n`).join("");
}
