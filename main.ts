import type { RunResult } from "./src/cli/run.ts";
import type { StopSignal } from "./src/sandbox/messages.ts";

// First, before anything else is loaded: these processes are small, and must never start another.
if (Deno.args[0] === "guardian" && Deno.args.length === 5) {
  const { guard } = await import("./src/runner/guardian_loop.ts");
  const [, mark, silenceMs, cgroups, worker] = Deno.args;
  await guard(mark!, Number(silenceMs), cgroups!, Number(worker));
  Deno.exit(0);
}

if (Deno.args[0] === "task-files" && Deno.args.length === 2) {
  const { serveTaskFiles } = await import("./src/runner/task_files_process.ts");
  serveTaskFiles(Deno.args[1]!);
  Deno.exit(0);
}

const stop = new AbortController();

/**
 * The first signal drains, the second exits at once; but when a terminal is closed, its shell and the
 * system each send a SIGHUP.
 */
async function onSignal(signal: StopSignal): Promise<void> {
  if (stop.signal.aborted) {
    if (signal === "SIGHUP") return;
    Deno.exit(signal === "SIGINT" ? 130 : 143);
  }
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
  } catch {
    // A closed pipe, or a terminal that is gone: there is nowhere else to say it.
  }
}

/** A process that was started by nohup goes on when its terminal is closed. */
function isHangupIgnored(): boolean {
  try {
    const status = Deno.readTextFileSync("/proc/self/status");
    return (parseInt(/^SigIgn:.*(.)$/m.exec(status)?.[1] ?? "0", 16) & 1) === 1;
  } catch {
    return false;
  }
}

const signals: StopSignal[] = ["SIGINT"];
if (Deno.build.os !== "windows") {
  signals.push("SIGTERM");
  // Deno's own handler, installed with the first listener, would end an ignoring process as well.
  if (isHangupIgnored()) Deno.addSignalListener("SIGHUP", () => {});
  else signals.push("SIGHUP");
}
signals.forEach((signal) => Deno.addSignalListener(signal, () => onSignal(signal)));
const { run } = await import("./src/cli/run.ts");
const { exit, error } = await run(Deno.args, stop.signal);
if (error !== undefined) {
  const { wantsJson } = await import("./src/cli/wants_json.ts");
  await printError(error, wantsJson(Deno.args));
}
Deno.exit(exit);
