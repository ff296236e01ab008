/** Set to 1: this process ends when its standard input does. Named in the schema's `otherVariables`. */
export const leashVariable = "AGENT_STOP_WITH_STDIN";

/** A role that has not drained by then gets a second signal, which ends it at once. */
const drainMs = 5_000;

/**
 * Ties this process to the process at the other end of its standard input: it stops as on SIGTERM
 * when that end is closed, which the system does even after SIGKILL. So `agent demo` leaves no process
 * behind.
 */
export async function leash(): Promise<void> {
  const buffer = new Uint8Array(64);
  while (await Deno.stdin.read(buffer) !== null) { /* Only the end matters. */ }
  Deno.kill(Deno.pid, "SIGTERM");
  setTimeout(() => Deno.kill(Deno.pid, "SIGTERM"), drainMs);
}
