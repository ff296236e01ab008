import type { Clock } from "./clock.ts";
import { anySignal } from "../deno/any_signal.ts";

/**
 * Runs the parts of a role until all have ended. The first that fails aborts the rest, and its
 * error is thrown once they have ended. "Told to stop" is `signal.aborted`, never an error: what a
 * part throws after that with the signal's own reason is not a failure.
 */
export async function together(
  signal: AbortSignal,
  ...parts: ((signal: AbortSignal) => Promise<void>)[]
): Promise<void> {
  const stop = new AbortController();
  using all = anySignal(signal, stop.signal);
  const failures: unknown[] = [];
  await Promise.all(parts.map(async (part) => {
    try {
      await part(all);
    } catch (error) {
      if (all.aborted && error === all.reason) return;
      failures.push(error);
      stop.abort(error);
    }
  }));
  if (failures.length > 0) throw failures[0];
}

export interface Rounds {
  /** Asked before each pause, where it varies. */
  periodMs: number | (() => number);
  /** Share of the period that is varied at random: 0.1 means ±10 %. */
  jitter?: number;
  /** Rounds may begin a little early or late, so that they share their wakes: see `sharedPauseMs`. */
  coarse?: boolean;
  clock: Clock;
  signal: AbortSignal;
  /** Told of each round that failed; a bad round does not end the loop. */
  failed: (error: unknown) => void;
  random?: () => number;
}

/** Coarse timers of a thread run at multiples of the longest of these that fits into their pause. */
const gridsMs = [1_000, 500];

/**
 * The pause in place of one of `ms`, up to half as long again or half as short, whose end it shares with
 * other coarse timers of this thread: an idle process spends most of its processor time on waking up.
 */
export function sharedPauseMs(ms: number, now = performance.now()): number {
  const gridMs = gridsMs.find((each) => each <= ms);
  return gridMs === undefined ? ms : Math.round((now + ms) / gridMs) * gridMs - now;
}

/** As `setInterval`, with shared wakes. */
export function coarseInterval(round: () => void, ms: number): Disposable {
  const next = () => {
    timer = setTimeout(next, sharedPauseMs(ms));
    round();
  };
  let timer = setTimeout(next, sharedPauseMs(ms));
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

/** Runs `round` at once and then each period until the signal aborts. */
export async function every(rounds: Rounds, round: () => Promise<void> | void): Promise<void> {
  const { periodMs, jitter = 0, coarse, clock, signal, failed, random = Math.random } = rounds;
  while (!signal.aborted) {
    try {
      await round();
    } catch (error) {
      if (signal.aborted) return;
      failed(error);
    }
    const meanMs = typeof periodMs === "number" ? periodMs : periodMs();
    const pauseMs = meanMs * (1 + jitter * (2 * random() - 1));
    try {
      await clock.sleep(coarse ? sharedPauseMs(pauseMs, clock.monotonic()) : pauseMs, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}

/** Settles when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve(), { once: true })
  );
}
