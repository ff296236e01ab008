/** Time as an input, so that tests can turn it. */
export interface Clock {
  /** Milliseconds since the epoch; may jump. For what people and certificates see. */
  now(): number;
  /** Milliseconds from an arbitrary start; never goes back. For how long something took. */
  monotonic(): number;
  /** Settles after `ms`, or rejects with the signal's reason once it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The longest time of `setTimeout`, 25 days; it takes a longer one for none. */
const longestMs = 2 ** 31 - 1;

/** Calls back once after any time, unless it is disposed of before. */
export function startTimer(callback: () => void, ms: number, longest = longestMs): Disposable {
  let id: ReturnType<typeof setTimeout>;
  let leftMs = ms;
  const next = () => {
    const partMs = Math.min(leftMs, longest);
    leftMs -= partMs;
    id = setTimeout(leftMs > 0 ? next : callback, partMs);
  };
  next();
  return { [Symbol.dispose]: () => clearTimeout(id) };
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep(ms, signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        timer[Symbol.dispose]();
        reject(signal!.reason);
      };
      const timer = startTimer(() => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      }, ms);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  },
};
