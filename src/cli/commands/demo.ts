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
  summary: "Show everything in action: a private CA, a coordinator, two workers, real tasks",
  description:
    `Starts a coordinator and two workers as processes on this machine, with mutual TLS from
    a temporary CA. They run a dozen commands: one fails and is retried, one is cancelled, one leaves
    a file. The results are checked, and everything is removed. It takes a few seconds, needs no
    network and changes nothing outside of a temporary folder.`,
  options: {
    stay: {
      kind: "flag",
      help: "Start a node with the web UI too, and keep everything running until Ctrl-C",
    },
  },
  examples: [
    { line: "agent demo", does: "Run everything, in a few seconds" },
    { line: "agent demo --stay", does: "Keep it running, and print how to explore it" },
  ],
  exits: { 1: "A step failed" },
  // Four roles stop before their folder is removed.
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
      broken.catch(() => {/* Reported by the race, if it comes before the end. */});
      const story = await Promise.race([tellStory(hosts, folder, tell), broken]);
      const result = { ...story, seconds: (env.clock.monotonic() - began) / 1000 };
      if (options.stay) {
        const url = await Promise.race([hosts.startNode(), broken]);
        await env.stderr.write(`\n${pageOf(result, env.stderr)}\n${howToExplore(hosts, url)}`);
        await Promise.race([aborted(env.signal), broken]);
      }
      return { ...result, stay: options.stay };
    } catch (error) {
      // A role that is stopped together with this process has not failed.
      env.signal.throwIfAborted();
      if (error instanceof ProgramFailed) await env.stderr.write(`\n${error.output}`);
      throw error;
    }
  },
  text: (result, { env }) => result.stay ? "" : `\n${pageOf(result, env.stdout)}\n${howToGoOn()}`,
});

/**
 * Named by the process id, because the grants are determined before the folder is made. An existing
 * folder of this name was left behind by a process that is gone.
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
  // Not recursive: fails if another process has just made it.
  await Deno.mkdir(folder, { mode: 0o700 }).catch((cause) => {
    throw new UserError(`Could not make the temporary folder "${folder}": ${reasonOf(cause)}`, {
      next: "Set TMPDIR to a folder that can be written",
      cause,
    });
  });
}

function pageOf(result: Story & { seconds: number }, output: Output): string {
  const page = report(result, { colors: colors(output), width: widthOf(output) });
  return `${page}\nEverything worked, in ${result.seconds.toFixed(1)} s.\n`;
}

/** The command to paste, as this one was started. */
const program = Deno.build.standalone ? "agent" : "scripts/agent";

function howToGoOn(): string {
  return lines([
    "Try next:",
    `  ${program} demo --stay    keep it running, to explore it`,
    `  ${program} tls init       make a CA for real hosts; README.md continues from there`,
    `  ${program} --help         list all commands`,
  ]);
}

function howToExplore({ configFile }: Hosts, url: string): string {
  return lines([
    "It keeps running until Ctrl-C. The web UI, whose certificate your browser does not know:",
    `  ${url}`,
    "",
    "In another terminal:",
    `  export AGENT_CONFIG=${configFile}`,
    `  ${program} workers list`,
    `  ${program} submit --follow -- uname -a`,
    `  ${program} task list`,
  ]);
}

function lines(all: string[]): string {
  return all.map((line) => `${line}\n`).join("");
}
