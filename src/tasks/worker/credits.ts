/** How many tasks a worker asks for; pure, so that it can be told as a table. */

/**
 * The most tasks beyond its slots that a worker asks for. Measured: with short tasks, 4 slots and a
 * window of twice the slots gave 605 tasks/s, slots + 32 gave 935.
 */
const mostAhead = 32;

/** So much work lies ready at most: a few round trips, and nobody else could have begun it sooner. */
const aheadMs = 100;

/** A task that has waited here for so long goes back: another worker may have a slot for it. */
export const releaseAfterMs = 500;

/** After that, others than the coordinator with the fewest tasks are asked for the free slots. */
const exclusiveMs = 50;

/** How many tasks to have ready beyond the slots, when tasks take `meanMs`. */
export function tasksAhead(slots: number, meanMs: number): number {
  return Math.min(mostAhead, Math.floor(slots * aheadMs / Math.max(meanMs, 1)));
}

/** The mean of the last few, in which the newest counts an eighth. */
export function nextMeanMs(meanMs: number | undefined, tookMs: number): number {
  return meanMs === undefined ? tookMs : meanMs + (tookMs - meanMs) / 8;
}

export interface LinkLoad {
  /** Connected, and not draining. */
  open: boolean;
  /** Tasks of this coordinator that have a slot, and that wait for one. */
  running: number;
  queued: number;
  /** Credits that it has not used yet. */
  credit: number;
}

/**
 * How many credits more each coordinator gets. Credits cannot be taken back, so one that uses none
 * must not keep a slot from the others: each may be promised all that is free, and what comes beyond
 * that waits, or goes back. But the one with the fewest tasks here is asked first, so that several
 * busy ones come to share the slots.
 *
 * @param freeForMs for how long a slot has been free.
 */
export function newCredits(
  { slots, ahead, freeForMs, links }: {
    slots: number;
    ahead: number;
    freeForMs: number;
    links: readonly LinkLoad[];
  },
): number[] {
  const held = links.reduce((sum, { running, queued }) => sum + running + queued, 0);
  const room = slots + ahead - held;
  const fewest = Math.min(...links.filter(({ open }) => open).map(load));
  return links.map((link) => {
    if (!link.open || room <= 0) return 0;
    if (ahead === 0 && load(link) > fewest && freeForMs < exclusiveMs) return 0;
    const grant = room - link.credit;
    // With many short tasks a message for each would be waste: half of the store is still there.
    const plenty = ahead >= 8 && link.queued + link.credit > ahead / 2;
    return grant <= 0 || plenty ? 0 : grant;
  });
}

function load({ running, queued }: LinkLoad): number {
  return running + queued;
}

/** Which coordinator's task gets the next free slot: of those that have one waiting, the one with the
 * fewest running, and among equals the one that was served longest ago. */
export function nextLink<L extends { running: number; queued: number; servedAt: number }>(
  links: readonly L[],
): L | undefined {
  return links.filter(({ queued }) => queued > 0)
    .sort((a, b) => a.running - b.running || a.servedAt - b.servedAt)[0];
}
