/** How long to wait before each next try. */
export interface Backoff {
  firstMs: number;
  factor: number;
  longestMs: number;
}

/**
 * The wait before try `attempt` (1 = the first retry), with full jitter above half of it, so that
 * many workers that lost the same coordinator do not return in one instant.
 *
 * @param random a number in [0, 1).
 */
export function backoffMs(backoff: Backoff, attempt: number, random: number): number {
  const full = Math.min(backoff.longestMs, backoff.firstMs * backoff.factor ** (attempt - 1));
  return full / 2 + random * full / 2;
}
