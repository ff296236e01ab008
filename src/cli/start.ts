import type { Env } from "../base/env.ts";
import { errorFacts } from "../base/errors.ts";
import { releaseWhenIdle } from "../base/idle_memory.ts";
import { aborted } from "../base/lifetimes.ts";
import type { RoleInit } from "../roles/entry.ts";
import { cleanProcess } from "../roles/process_state.ts";
import { withAddresses } from "../sandbox/addresses.ts";
import { guardCaKey } from "../sandbox/ca_key.ts";
import { Stopped, type StopSignal } from "../sandbox/messages.ts";
import { startThread, type Thread, type ThreadEnd } from "../sandbox/start.ts";
import type { AnyCommand, Request, RoleSpec } from "./command.ts";
import { prepareTls } from "../deno/first_tls.ts";
import { execute } from "./execute.ts";
import type { CommandInit } from "./inside.ts";
import type { Settings } from "./settings.ts";

/** Runs a command or role in a thread with its grants, or here if it asks for none. */
export async function start(
  spec: AnyCommand,
  request: Request,
  env: Env,
  settings: Settings,
): Promise<ThreadEnd> {
  if (spec.entry !== undefined) return await startRole(spec, request, env, settings);
  if (spec.prepare !== undefined) request.prepared = await spec.prepare({ ...request, env });
  const here = { ...request, env };
  if (spec.grants === undefined) return { exit: await execute(spec, here) };
  if (spec.config?.includes("peer") && !request.config.values["peer.insecure"]) prepareTls();
  const grants = await withAddresses(await spec.grants(here));
  await guardCaKey(grants, settings.caKey);
  const init: CommandInit = { path: spec.path, request, env: settings.env };
  await using thread = startThread({ entry: "command", name: spec.path, grants, init });
  return await Promise.race([
    endOf(thread, env.signal),
    graceOver(env, spec.graceMs ?? commandGraceMs),
  ]);
}

const commandGraceMs = 1000;

/** Settles when a command has not stopped in time after a signal; never without a signal. */
async function graceOver({ clock, signal }: Env, graceMs: number): Promise<ThreadEnd> {
  await aborted(signal);
  await clock.sleep(graceMs);
  return { facts: errorFacts(signal.reason) };
}

/** A role in a thread, and what runs beside it. Exported for its test. */
export async function startRole(
  // deno-lint-ignore no-explicit-any -- the options are the role's own business.
  spec: RoleSpec<any>,
  request: Request,
  env: Env,
  settings: Pick<Settings, "env" | "caKey">,
): Promise<ThreadEnd> {
  const here = { ...request, env };
  using _clean = cleanProcess(env, spec.beside !== undefined);
  const grants = await withAddresses(await spec.grants(here));
  await guardCaKey(grants, settings.caKey);
  const told = () => env.log.info("stop requested", { signal: signalOf(env.signal) });
  env.signal.addEventListener("abort", told, { once: true });
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
  using _memory = releaseWhenIdle(() => thread.idle());
  const ended = endOf(thread, env.signal).finally(() => over.abort(new Stopped("SIGTERM")));
  try {
    if (spec.beside === undefined) return await ended;
    // Both are awaited: the runner ends its processes after the role has ended.
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
    env.signal.removeEventListener("abort", told);
    port1.close();
  }
}

/** Passes a stop on, and waits for the end of the thread. */
async function endOf(
  thread: Thread,
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

/** The signal that stopped the program, if one did. */
export function signalOf(signal: AbortSignal): StopSignal | undefined {
  return signal.reason instanceof Stopped ? signal.reason.signal : undefined;
}
