/**
 * Calls `check` until it returns something other than `undefined` or `false`, and returns that. An
 * error counts as "not yet"; when the time is over, the last error is thrown.
 */
export async function eventually<T>(
  withinMs: number,
  check: () => T | Promise<T>,
): Promise<Exclude<T, undefined | false | void>> {
  const endMs = performance.now() + withinMs;
  let waitMs = 5;
  while (true) {
    let last: unknown;
    try {
      const answer = await check();
      if (answer !== undefined && answer !== false) {
        return answer as Exclude<T, undefined | false | void>;
      }
      last = new Error(`Still ${answer} after ${withinMs} ms: ${check}`);
    } catch (error) {
      last = error;
    }
    if (performance.now() > endMs) throw last;
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    waitMs = Math.min(waitMs * 1.5, 200);
  }
}

/** A port that was free a moment ago, for programs that do not accept port 0. */
export function freePort(hostname = "127.0.0.1"): number {
  const listener = Deno.listen({ hostname, port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

/** The value of a count once it has not changed for a second. */
export async function settled(count: () => number): Promise<number> {
  let [last, since] = [-1, 0];
  await eventually(30_000, () => {
    if (count() !== last) [last, since] = [count(), performance.now()];
    return performance.now() - since > 1_000;
  });
  return last;
}
