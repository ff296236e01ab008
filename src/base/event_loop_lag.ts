/** Times are seen this late at most; more often costs an idle process more than it tells. */
const defaultLookMs = 50;

/** Two halves of the minute that the gauge covers, so that a scrape each 30 s misses nothing. */
const halfMs = 30_000;

export interface EventLoopLag extends Disposable {
  /** How long the event loop was held at most within the last minute, in seconds. */
  longestSeconds(): number;
}

/**
 * Measures how late timers run: the time that other work was delayed too.
 *
 * @param lookEveryMs what holds the event loop for less may be missed; looks cost an idle process CPU.
 */
export function measureEventLoopLag(lookEveryMs = defaultLookMs): EventLoopLag {
  let due = performance.now() + lookEveryMs;
  let halfBegan = performance.now();
  let [former, current] = [0, 0];
  const turnOver = (now: number) => {
    if (now - halfBegan < halfMs) return;
    former = now - halfBegan < 2 * halfMs ? current : 0;
    current = 0;
    halfBegan = now;
  };
  const timer = setInterval(() => {
    const now = performance.now();
    turnOver(now);
    current = Math.max(current, now - due);
    due = now + lookEveryMs;
  }, lookEveryMs);
  return {
    longestSeconds: () => Math.max(former, current, performance.now() - due, 0) / 1_000,
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
