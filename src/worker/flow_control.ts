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

/** Who has credits and gives no task for so long has none to give. Round trips take less. */
const answerMs = 100;

/** How many tasks to have ready beyond the slots, when tasks take `meanMs`. */
export function tasksAhead(slots: number, meanMs: number): number {
  return Math.min(mostAhead, Math.floor(slots * aheadMs / Math.max(meanMs, 1)));
}

/** The mean of the last few, in which the newest counts an eighth. */
export function nextMeanMs(meanMs: number | undefined, tookMs: number): number {
  return meanMs === undefined ? tookMs : meanMs + (tookMs - meanMs) / 8;
}

export interface SessionLoad {
  /** Connected, and not draining. */
  open: boolean;
  /** Tasks of this coordinator that have a slot, and that wait for one. */
  running: number;
  queued: number;
  /** Credits that it has not used yet, and for how long it has used none. */
  credit: number;
  unusedMs: number;
  /** When it last got a slot, by any count. */
  servedAt: number;
}

/**
 * How many credits more each coordinator gets. What there is room for is shared out to those that
 * have work, so that each comes to have as many tasks here as the others, and in turn where that
 * does not come out even. Credits cannot be taken back, so one that uses none must not keep a slot
 * from the others: it is promised all the room besides, and what comes then waits, or goes back.
 */
export function newCredits(
  { slots, ahead, sessions }: { slots: number; ahead: number; sessions: readonly SessionLoad[] },
): number[] {
  const attempt = sessions.reduce((sum, { running, queued }) => sum + running + queued, 0);
  const room = slots + ahead - attempt;
  const isBusy = ({ open, credit, unusedMs }: SessionLoad) =>
    open && (credit === 0 || unusedMs < answerMs);
  const busy = sessions.filter(isBusy);
  const shares = fairShares(room, busy);
  return sessions.map((session) => {
    if (!session.open) return 0;
    const grant = isBusy(session) ? shares.get(session)! : Math.max(0, room - session.credit);
    // With many short tasks a message for each would be waste: half of the store is still there.
    const plenty = ahead >= 8 &&
      session.queued + session.credit > ahead / 2 / Math.max(1, busy.length);
    return plenty ? 0 : grant;
  });
}

/** What of the room is not promised yet goes, one by one, to whoever will have the fewest tasks. */
function fairShares(room: number, sessions: readonly SessionLoad[]): Map<SessionLoad, number> {
  const shares = new Map(sessions.map((session) => [session, 0]));
  const left = room - sessions.reduce((sum, { credit }) => sum + credit, 0);
  const inTurn = sessions.toSorted((a, b) => a.servedAt - b.servedAt);
  const tasks = (session: SessionLoad) =>
    session.running + session.queued + session.credit + shares.get(session)!;
  for (let n = 0; n < left && inTurn.length > 0; n++) {
    const next = inTurn.reduce((least, session) => tasks(session) < tasks(least) ? session : least);
    shares.set(next, shares.get(next)! + 1);
  }
  return shares;
}

/** Which coordinator's task gets the next free slot: of those that have one waiting, the one with the
 * fewest running, and among equals the one that was served longest ago. */
export function nextSession<L extends { running: number; queued: number; servedAt: number }>(
  sessions: readonly L[],
): L | undefined {
  return sessions.filter(({ queued }) => queued > 0)
    .sort((a, b) => a.running - b.running || a.servedAt - b.servedAt)[0];
}
