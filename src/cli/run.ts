import { type ErrorFacts, errorFacts, exitCode, UserError } from "../base/errors.ts";
import type { Env } from "../base/env.ts";
import { output, realEnv } from "../sandbox/env.ts";
import { aborted } from "../base/lifetimes.ts";
import { guardCaKey } from "../sandbox/ca_key.ts";
import { Stopped, type StopSignal } from "../sandbox/messages.ts";
import { startThread, type ThreadEnd } from "../sandbox/start.ts";
import type { AnyCommand, Request, RoleSpec } from "./command.ts";
import { execute } from "./execute.ts";
import { commandHelp, groupHelp } from "./help.ts";
import type { CommandInit } from "./inside.ts";
import { leash, leashVariable } from "./leash.ts";
import { parse, type Parsed } from "./parse.ts";
import { findCommand, loadCommand } from "./registry.ts";
import { type Settings, settingsFor } from "./settings.ts";
import type { RoleInit } from "../roles/entry.ts";

export interface Outcome {
  exit: number;
  /** What is to be printed, if the run failed. */
  error?: ErrorFacts;
}

/** From the command line to the outcome; prints no error and does not exit. */
export async function run(argv: readonly string[], signal: AbortSignal): Promise<Outcome> {
  try {
    return await dispatch(argv, signal);
  } catch (error) {
    return outcomeOf({ facts: errorFacts(error) }, signal);
  }
}

async function dispatch(argv: readonly string[], signal: AbortSignal): Promise<Outcome> {
  const found = findCommand(normalized(argv));
  if (found.kind === "group") {
    const asked = found.words.some((word) => word === "-h" || word === "--help");
    return await showGroup(found.path, found.words, asked);
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

/** `agent help X` and `agent --version` are what people try first. */
function normalized(argv: readonly string[]): string[] {
  if (argv[0] === "help") return [...argv.slice(1), "--help"];
  if (argv[0] === "--version" || argv[0] === "-V") return ["version", ...argv.slice(1)];
  // Common flags may stand before the command: they are moved behind its name.
  const [first, ...others] = argv;
  if (first !== undefined && /^--(json|no-json|color=.*|config=.*)$/.test(first)) {
    const at = others.findIndex((word) => word.startsWith("-"));
    const end = at < 0 ? others.length : at;
    return others.length === 0 ? [first] : [...others.slice(0, end), first, ...others.slice(end)];
  }
  return [...argv];
}

async function showGroup(path: string, words: string[], asked: boolean): Promise<Outcome> {
  const text = await groupHelp(path, width());
  if (asked) return await print(text);
  const unknown = words[0];
  const name = path === "" ? "agent" : `agent ${path}`;
  throw new UserError(
    unknown === undefined ? `"${name}" needs a command` : `Unknown flag "${unknown}"`,
    { exit: exitCode.usage, code: "usage", next: `${name} --help` },
  );
}

function requestOf(spec: AnyCommand, parsed: Parsed, { config, findings }: Settings): Request {
  const { options, args, rest, common } = parsed;
  const json = common.json === "true";
  return { options, args, rest, config, json, ...(spec.lenient ? { findings } : {}) };
}

async function start(
  spec: AnyCommand,
  request: Request,
  env: Env,
  settings: Settings,
): Promise<ThreadEnd> {
  const here = { ...request, env };
  if (spec.entry !== undefined) return await startRole(spec, request, env, settings);
  if (spec.grants === undefined) return { exit: await execute(spec, here) };
  const grants = await spec.grants(here);
  await guardCaKey(grants, settings.caKey);
  const init: CommandInit = { path: spec.path, request, env: settings.env };
  await using thread = startThread({ entry: "command", name: spec.path, grants, init });
  return await Promise.race([
    endOf(thread, env.signal),
    graceOver(env, spec.graceMs ?? commandGraceMs),
  ]);
}

const commandGraceMs = 1000;

/** The end of a command that was told to stop and did not; never settles without a signal. */
async function graceOver({ clock, signal }: Env, graceMs: number): Promise<ThreadEnd> {
  await aborted(signal);
  await clock.sleep(graceMs);
  return { facts: errorFacts(signal.reason) };
}

// deno-lint-ignore no-explicit-any -- the options are the role's own business.
async function startRole(spec: RoleSpec<any>, request: Request, env: Env, settings: Settings) {
  const here = { ...request, env };
  const grants = await spec.grants(here);
  await guardCaKey(grants, settings.caKey);
  const { port1, port2 } = new MessageChannel();
  const init: RoleInit = { config: request.config, env: settings.env, port: port2 };
  const over = new AbortController();
  await using thread = startThread({
    entry: spec.entry,
    name: spec.path,
    grants,
    init,
    transfer: [port2],
  });
  const ended = endOf(thread, env.signal).finally(() => over.abort(new Stopped("SIGTERM")));
  try {
    if (spec.beside === undefined) return await ended;
    // Both are awaited: what runs beside ends its processes after the role has ended.
    const beside = spec.beside(port1, { ...here, env: { ...env, signal: over.signal } })
      .then(
        () => undefined,
        (error) => over.signal.aborted && error === over.signal.reason ? undefined : error,
      );
    const failure = await Promise.race([ended.then(() => undefined), beside]);
    if (failure !== undefined) return { facts: errorFacts(failure) };
    const end = await ended;
    const late = await beside;
    return late === undefined ? end : { facts: errorFacts(late) };
  } finally {
    port1.close();
  }
}

/** Passes a stop on, and waits for the thread's own end. */
async function endOf(
  thread: ReturnType<typeof startThread>,
  signal: AbortSignal,
): Promise<ThreadEnd> {
  const pass = () => thread.stop(signalOf(signal)!);
  if (signal.aborted) pass();
  else signal.addEventListener("abort", pass, { once: true });
  try {
    return await thread.ended;
  } finally {
    signal.removeEventListener("abort", pass);
  }
}

function signalOf(signal: AbortSignal): StopSignal | undefined {
  return signal.reason instanceof Stopped ? signal.reason.signal : undefined;
}

/** A role that drained is done; a command that was interrupted says so by its code. */
function outcomeOf(end: ThreadEnd, signal: AbortSignal, isRole = false): Outcome {
  const told = signal.aborted ? signalOf(signal) : undefined;
  const interrupted = told === "SIGINT" ? exitCode.interrupted : exitCode.terminated;
  if ("exit" in end) return { exit: told === undefined || isRole ? end.exit : interrupted };
  const { facts } = end;
  if (facts.code === "output_closed") return { exit: exitCode.done };
  if (facts.code === "stopped") return { exit: isRole ? exitCode.done : interrupted };
  return { exit: told === undefined || isRole ? facts.exit : interrupted, error: facts };
}

async function print(text: string): Promise<Outcome> {
  await output(Deno.stdout, false).write(text);
  return { exit: exitCode.done };
}

/** Lines longer than this are hard to read however wide the terminal is. */
const widest = 100;

function width(): number {
  const columns = Deno.stdout.isTerminal() ? Deno.consoleSize().columns : widest;
  return Math.min(columns > 0 ? columns : widest, widest);
}
