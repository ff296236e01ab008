/** How many tasks a worker asks for: pure functions, tested by a table of cases. */

/**
 * The most tasks beyond its slots that a worker asks for. Measured: with short tasks, 4 slots and a
 * window of twice the slots gave 605 tasks/s, slots + 32 gave 935.
 */
const mostAhead = 32;

/** Work kept ready, at most: a few round trips, in which no other worker could start it. */
const aheadMs = 100;

/** A task that has waited this long goes back: another worker may have a free slot. */
export const releaseAfterMs = 500;

/** A coordinator that does not use a credit for this long has no task. Round trips take less. */
const answerMs = 100;

/** How many tasks to keep ready beyond the slots if tasks take `meanMs`. */
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
 * How many further credits each coordinator gets. Free room is shared among those that have work, so
 * that each gets the same number of tasks here, in turn if it cannot be divided evenly. Credits cannot
 * be taken back, so unused ones must not block others: a coordinator without work gets credits for all
 * the room in addition, and if it uses them, its tasks wait or go back.
 */
export function newCredits(
  { slots, ahead, sessions }: { slots: number; ahead: number; sessions: readonly SessionLoad[] },
): number[] {
  const tasks = sessions.reduce((sum, { running, queued }) => sum + running + queued, 0);
  const room = slots + ahead - tasks;
  const isBusy = ({ open, credit, unusedMs }: SessionLoad) =>
    open && (credit === 0 || unusedMs < answerMs);
  const busy = sessions.filter(isBusy);
  const shares = fairShares(room, busy);
  return sessions.map((session) => {
    if (!session.open) return 0;
    const grant = isBusy(session) ? shares.get(session)! : Math.max(0, room - session.credit);
    // With many short tasks, one message for each is waste while half of the work is still ready.
    const plenty = ahead >= 8 &&
      session.queued + session.credit > ahead / 2 / Math.max(1, busy.length);
    return plenty ? 0 : grant;
  });
}

/** Room without a credit goes, one by one, to the coordinator with the fewest tasks. */
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

/**
 * Which coordinator's task gets the next free slot: of those with waiting tasks, the one with the
 * fewest running; among equals, the one that got a slot longest ago.
 */
export function nextSession<L extends { running: number; queued: number; servedAt: number }>(
  sessions: readonly L[],
): L | undefined {
  return sessions.filter(({ queued }) => queued > 0)
    .sort((a, b) => a.running - b.running || a.servedAt - b.servedAt)[0];
}
