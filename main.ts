import type { RunResult } from "./src/cli/run.ts";
import type { StopSignal } from "./src/sandbox/messages.ts";

// First, and without other imports: a guardian is small, and a mistake here would start another one.
if (Deno.args[0] === "guardian" && Deno.args.length === 5) {
  const { guard } = await import("./src/runner/guardian_loop.ts");
  const [, mark, silenceMs, cgroups, worker] = Deno.args;
  await guard(mark!, Number(silenceMs), cgroups!, Number(worker));
  Deno.exit(0);
}

const stop = new AbortController();

/** The first signal drains, the second exits at once. */
async function onSignal(signal: StopSignal): Promise<void> {
  if (stop.signal.aborted) Deno.exit(signal === "SIGINT" ? 130 : 143);
  const { Stopped } = await import("./src/sandbox/messages.ts");
  stop.abort(new Stopped(signal));
}

async function printError(error: NonNullable<RunResult["error"]>, json: boolean): Promise<void> {
  const { message, next, code, stack } = error;
  if (json) return await say(JSON.stringify({ error: { code, message, next } }) + "\n");
  // Errors quote files and peers: no control character of theirs may reach the terminal.
  const line = (text: string) => text.replaceAll(/\p{Cc}+/gu, " ").trim() + "\n";
  await say(line(`agent: ${message}`));
  if (next !== undefined) await say("  next: " + line(next));
  if (Deno.env.get("AGENT_DEBUG") === "1" && stack !== undefined) await say(`${stack}\n`);
}

async function say(text: string): Promise<void> {
  try {
    await Deno.stderr.write(new TextEncoder().encode(text));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

const signals: StopSignal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];
signals.forEach((signal) => Deno.addSignalListener(signal, () => onSignal(signal)));
const { run } = await import("./src/cli/run.ts");
const { exit, error } = await run(Deno.args, stop.signal);
if (error !== undefined) {
  const { wantsJson } = await import("./src/cli/wants_json.ts");
  await printError(error, wantsJson(Deno.args));
}
Deno.exit(exit);
