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
  clock: Clock;
  signal: AbortSignal;
  /** Told of each round that failed; a bad round does not end the loop. */
  failed: (error: unknown) => void;
  random?: () => number;
}

/** Runs `round` at once and then each period until the signal aborts. */
export async function every(rounds: Rounds, round: () => Promise<void> | void): Promise<void> {
  const { periodMs, jitter = 0, clock, signal, failed, random = Math.random } = rounds;
  while (!signal.aborted) {
    try {
      await round();
    } catch (error) {
      if (signal.aborted) return;
      failed(error);
    }
    const pauseMs = typeof periodMs === "number" ? periodMs : periodMs();
    try {
      await clock.sleep(pauseMs * (1 + jitter * (2 * random() - 1)), signal);
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
