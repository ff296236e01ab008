/**
 * How many times longer everything takes now than on a quiet machine: processes that want to run for
 * each processor, as a mean of the last minute.
 */
export function slowness(): number {
  return Math.max(1, (Deno.loadavg()[0] ?? 0) / navigator.hardwareConcurrency);
}

/**
 * Calls `check` until it returns something other than `undefined` or `false`, and returns that. An
 * error counts as "not yet"; when the time is over, the last error is thrown.
 *
 * @param withinMs on a quiet machine; a busy one gets more.
 */
export async function eventually<T>(
  withinMs: number,
  check: () => T | Promise<T>,
): Promise<Exclude<T, undefined | false | void>> {
  const beganMs = performance.now();
  let waitMs = 5;
  while (true) {
    const checkedMs = performance.now();
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
    if (performance.now() - beganMs > withinMs * slowness()) throw last;
    // A check that starts programs would keep a core busy.
    const tookMs = performance.now() - checkedMs;
    const pauseMs = Math.max(waitMs, Math.min(tookMs * 2, 1_000));
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
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
