import process from "node:process";
import { sharedPauseMs } from "./lifetimes.ts";

/** Times are seen this late at most; more often costs a process more than it tells. */
const defaultLookMs = 50;

/** While the process does next to nothing, nothing holds its event loop. */
const idle = { lookMs: 1_000, share: 0.05 };

/** Looks stay frequent for this long after the last work. */
const calmMs = 10_000;

/** Two halves of the minute that the gauge covers, so that a scrape each 30 s misses nothing. */
const halfMs = 30_000;

export interface EventLoopLag extends Disposable {
  /** How long the event loop was held at most within the last minute, in seconds. */
  longestSeconds(): number;
}

/**
 * Measures how late timers run: the time that other work was delayed too.
 *
 * @param lookEveryMs what holds the event loop for less may be missed; looks cost CPU, and are therefore
 * rare in a process that has been idle for some seconds.
 */
export function measureEventLoopLag(lookEveryMs = defaultLookMs): EventLoopLag {
  let everyMs = lookEveryMs;
  let due = performance.now() + everyMs;
  let halfBegan = performance.now();
  let [former, current] = [0, 0];
  const work = workOf();
  const turnOver = (now: number) => {
    if (now - halfBegan < halfMs) return;
    former = now - halfBegan < 2 * halfMs ? current : 0;
    current = 0;
    halfBegan = now;
  };
  const look = () => {
    const now = performance.now();
    turnOver(now);
    current = Math.max(current, now - due);
    everyMs = work.isBusy(now)
      ? lookEveryMs
      : sharedPauseMs(Math.max(lookEveryMs, idle.lookMs), now);
    due = now + everyMs;
    timer = setTimeout(look, everyMs);
  };
  let timer = setTimeout(look, everyMs);
  return {
    longestSeconds: () => Math.max(former, current, performance.now() - due, 0) / 1_000,
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}

/** Whether the process has worked within the last seconds, by its processor time. */
function workOf() {
  const usedMs = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  };
  let [askedAt, used, workedAt] = [performance.now(), usedMs(), performance.now()];
  return {
    isBusy(now: number): boolean {
      if (now - askedAt >= idle.lookMs / 2) {
        const usedNow = usedMs();
        if (usedNow - used > (now - askedAt) * idle.share) workedAt = now;
        [askedAt, used] = [now, usedNow];
      }
      return now - workedAt < calmMs;
    },
  };
}
