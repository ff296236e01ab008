import { type ErrorFacts, errorFacts, exitCode, UsageError } from "../base/errors.ts";
import { output, realEnv } from "../sandbox/env.ts";
import type { StopSignal } from "../sandbox/messages.ts";
import type { ThreadEnd } from "../sandbox/start.ts";
import type { AnyCommand, Request } from "./command.ts";
import { commandHelp, groupHelp } from "./help.ts";
import { leash, leashVariable } from "./leash.ts";
import { parse, type Parsed } from "./parse.ts";
import { findCommand, loadCommand } from "./registry.ts";
import { type Settings, settingsFor } from "./settings.ts";
import { signalOf, start } from "./start.ts";

export interface RunResult {
  exit: number;
  /** To be printed, if the run failed. */
  error?: ErrorFacts;
}

/** Runs a command line; prints no error and does not exit. */
export async function run(argv: readonly string[], signal: AbortSignal): Promise<RunResult> {
  try {
    if (argv[0] === "entrypoint" && !argv.slice(1, 2).some((word) => word.startsWith("-"))) {
      return await afterEntrypoint(argv.slice(1), signal);
    }
    if (argv.slice(0, 3).join(" ") === "completion reply --") {
      return await completionReply(argv.slice(3), signal);
    }
    return await dispatch(argv, signal);
  } catch (error) {
    return outcomeOf({ facts: errorFacts(error) }, signal);
  }
}

/** In a container: prepares the state volume, then goes on with the command that follows. */
async function afterEntrypoint(words: readonly string[], signal: AbortSignal): Promise<RunResult> {
  const prepared = await dispatch(["entrypoint"], signal);
  return prepared.exit === exitCode.done && words.length > 0
    ? await dispatch(words, signal)
    : prepared;
}

/** A person who has pressed Tab waits no longer. */
const completionMs = 2_000;

/**
 * What only coordinators know is asked by a command of its own, which may dial them. Without an answer
 * in time it prints nothing: there is no place for an error in a line that is being typed.
 */
async function completionReply(words: readonly string[], signal: AbortSignal): Promise<RunResult> {
  const { complete } = await import("./complete.ts");
  const found = await complete(words);
  if (found === undefined || !("live" in found)) {
    return await dispatch(["completion", "reply", "--", ...words], signal);
  }
  const { kind, namespace = "", typed, prefix, except, dial } = found.live;
  const flags = Object.entries({ kind, namespace, typed, prefix })
    .map(([name, value]) => `--${name}=${value}`);
  const named = except.map((word) => `--except=${word}`);
  const ask = ["completion", "ids", ...flags, ...named, ...dial, "--log.level=error"];
  const silent = { exit: exitCode.done };
  return await Promise.race([
    dispatch(ask, signal).then(() => silent, () => silent),
    new Promise<RunResult>((resolve) => setTimeout(resolve, completionMs, silent)),
  ]);
}

async function dispatch(argv: readonly string[], signal: AbortSignal): Promise<RunResult> {
  const found = findCommand(normalized(argv));
  if (found.kind === "group") {
    return await showGroup(found.path, found.words);
  }
  if (Deno.env.get(leashVariable) === "1") void leash();
  const spec = await loadCommand(found.path);
  const parsed = parse(spec, found.words);
  if (parsed.common.help === "true") return await print(commandHelp(spec, width()));

  const settings = await settingsFor(spec, parsed);
  const request = requestOf(spec, parsed, settings);
  const env = realEnv(settings.env, signal);
  if (!spec.lenient) settings.findings.warnings.forEach((warning) => env.log.warn(warning));
  return outcomeOf(await start(spec, request, env, settings), signal, spec.entry !== undefined);
}

/** People also try `agent help X`, `agent --version`, and common flags before the command. */
function normalized(argv: readonly string[]): string[] {
  if (argv[0] === "help") return [...argv.slice(1), "--help"];
  if (argv[0] === "--version" || argv[0] === "-V") return ["version", ...argv.slice(1)];
  const [first, ...others] = argv;
  if (first !== undefined && /^--(json|no-json|color=.*|config=.*)$/.test(first)) {
    const at = others.findIndex((word) => word.startsWith("-"));
    const end = at < 0 ? others.length : at;
    return others.length === 0 ? [first] : [...others.slice(0, end), first, ...others.slice(end)];
  }
  return [...argv];
}

/** A group alone is wrong usage, and its list of commands is the remedy. */
async function showGroup(path: string, words: string[]): Promise<RunResult> {
  if (words.some((word) => word === "-h" || word === "--help")) {
    return await print(await groupHelp(path, width()));
  }
  const [unknown] = words;
  if (unknown === undefined) {
    await output(2, false).write(await groupHelp(path, width(), true));
    return { exit: exitCode.usage };
  }
  const name = path === "" ? "agent" : `agent ${path}`;
  const message = unknown === "--json" ? `"${name}" needs a command` : `Unknown flag "${unknown}"`;
  throw new UsageError(message, { next: `${name} --help` });
}

function requestOf(spec: AnyCommand, parsed: Parsed, { config, findings }: Settings): Request {
  const { options, args, rest, common } = parsed;
  const json = common.json === "true";
  return { options, args, rest, config, json, ...(spec.lenient ? { findings } : {}) };
}

const codeOf: Record<StopSignal, number> = {
  SIGHUP: exitCode.hungUp,
  SIGINT: exitCode.interrupted,
  SIGTERM: exitCode.terminated,
};

/** A drained role exits 0; an interrupted command has the exit code of its signal. */
function outcomeOf(end: ThreadEnd, signal: AbortSignal, isRole = false): RunResult {
  const told = signal.aborted ? signalOf(signal) : undefined;
  const interrupted = codeOf[told ?? "SIGTERM"];
  if ("exit" in end) return { exit: told === undefined || isRole ? end.exit : interrupted };
  const { facts } = end;
  if (facts.code === "output_closed") return { exit: exitCode.done };
  if (facts.code === "stopped") return { exit: isRole ? exitCode.done : interrupted };
  return { exit: told === undefined || isRole ? facts.exit : interrupted, error: facts };
}

async function print(text: string): Promise<RunResult> {
  await output(1, false).write(text);
  return { exit: exitCode.done };
}

/** Longer lines are hard to read, however wide the terminal is. */
const widest = 100;

function width(): number {
  const columns = Deno.stdout.isTerminal() ? Deno.consoleSize().columns : widest;
  return Math.min(columns > 0 ? columns : widest, widest);
}
