import { leaseTimes } from "../tasks/limits.ts";
import { hasResources, type Resources, showResources } from "../tasks/resources.ts";
import { matches } from "../tasks/selectors.ts";
import type { FinishedState, Labels, WorkerHealth } from "../tasks/task.ts";

/** How a worker is doing: by its last heartbeat, and lost at once when its stream is closed. */
export function workerHealth(connected: boolean, sinceHeartbeatMs: number): WorkerHealth {
  if (!connected || sinceHeartbeatMs >= leaseTimes.lostAfterMs) return "lost";
  return sinceHeartbeatMs < leaseTimes.lateAfterMs ? "healthy" : "late";
}

/**
 * For how many milliseconds a worker may be silent before a lease counts as lost: at least as long as
 * it may rely on it. Without a lease: before its session ends. What is to be cancelled never runs again,
 * so nobody waits for a worker that may be away for ever.
 *
 * @param leaseMs `coordinator.lost_after`.
 */
export function leaseLength(
  holder: { holdMs: number; leaseMs: number; keepsTaskLeases: boolean },
  leaseMs: number,
  lease?: { lostAfterMs: number | undefined; cancelRequested: boolean },
): number {
  const common = Math.max(leaseMs, holder.leaseMs);
  const wanted = lease?.lostAfterMs === 0 ? Infinity : lease?.lostAfterMs ?? common;
  const own = lease?.cancelRequested ? Math.min(wanted, common) : wanted;
  return Math.max(holder.holdMs, holder.keepsTaskLeases ? own : Math.max(own, common));
}

export interface EndedAttempt {
  state: FinishedState;
  /** Why, for people. */
  reason: string | undefined;
  /** Attempts of this task that failed or timed out before, since it was last submitted or retried. */
  failures: number;
  /** Attempts that were lost before, likewise. */
  losses: number;
  /** How often a lost attempt is followed by another; undefined: `leaseTimes.maxRequeues`. */
  maxLost: number | undefined;
  retries: number;
  retryDelayMs: number;
  cancelRequested: boolean;
}

/** What becomes of a task when an attempt has ended. */
export interface TaskAfter {
  state: "queued" | FinishedState;
  reason: string | undefined;
  failures: number;
  losses: number;
  /** Not to be assigned before. */
  notBefore: number | undefined;
}

/**
 * Whether a task is tried again. Failed and timed-out attempts use up its retries. Lost ones do
 * not, they are not its fault, but a task that is lost again and again may be what kills its workers.
 */
export function afterAttempt(outcome: EndedAttempt, now: number): TaskAfter {
  const { state, reason, retries, retryDelayMs, cancelRequested } = outcome;
  const failures = outcome.failures + (state === "failed" || state === "timed_out" ? 1 : 0);
  const losses = outcome.losses + (state === "lost" ? 1 : 0);
  const ended = { failures, losses, notBefore: undefined };
  if (state === "lost") {
    if (cancelRequested) {
      return { ...ended, state: "cancelled", reason: "Cancelled; its worker was lost meanwhile" };
    }
    if (losses > (outcome.maxLost ?? leaseTimes.maxRequeues)) {
      const often = losses === 1 ? "Lost" : `Lost ${losses} times, last`;
      return { ...ended, state: "lost", reason: `${often}: ${reason}` };
    }
    const notBefore = losses === 1 ? undefined : now + requeueDelayMs(losses);
    return { ...ended, state: "queued", reason: undefined, notBefore };
  }
  const again = (state === "failed" || state === "timed_out") && !cancelRequested &&
    failures <= retries;
  if (!again) return { ...ended, state, reason };
  const notBefore = retryDelayMs > 0 ? now + retryDelayMs : undefined;
  return { ...ended, state: "queued", reason: undefined, notBefore };
}

/**
 * One loss is mostly a host that went away, and its task goes out again at once. One that follows may
 * mean that the task takes its workers down: they get time to recover.
 */
function requeueDelayMs(losses: number): number {
  return Math.min(5 * 60_000, 10_000 * 2 ** (losses - 2));
}

/** How much of the file system is free: a tenth or more, less, or so little that nothing is stored. */
export type SpaceLevel = "enough" | "low" | "none";

/**
 * Results that a person may not have fetched yet stay, however full a disk is that others fill, too:
 * for a day, and for an hour where the choice is between them and new tasks.
 */
const keptMs = { enough: Infinity, low: 86_400_000, none: 3_600_000 };

/** Whether a task that finished so long ago is to be removed. */
export function isExpired(
  { ageMs, keepMs, level }: { ageMs: number; keepMs: number; level: SpaceLevel },
): boolean {
  return ageMs > Math.min(keepMs, keptMs[level]);
}

/** A worker's session as the assignment sees it. */
export interface Seat {
  readonly workerId: string;
  readonly labels: Labels;
  readonly slots: number;
  /** What its tasks may have for themselves. */
  readonly resources?: Resources | undefined;
  /** Attempts that it has. */
  held: number;
  /** Further ones that it will take. */
  credits: number;
}

/** Of the seats that match and have credit, the one that is least busy for its size. */
export function pickSeat<S extends Seat>(seats: Iterable<S>): S | undefined {
  let best: S | undefined;
  for (const seat of seats) {
    if (seat.credits <= 0) continue;
    if (best === undefined || seat.held * best.slots < best.held * seat.slots) best = seat;
  }
  return best;
}

/** What a queued task waits for. */
export interface Waiting {
  selector: Labels;
  resources?: Resources | undefined;
  notBefore: number | undefined;
  /** Every worker that is connected. */
  workers: {
    id: string;
    labels: Labels;
    resources?: Resources | undefined;
    draining: boolean;
    health: WorkerHealth;
    trouble: string | undefined;
  }[];
}

/** Why a queued task is not running yet, for people. */
export function waitReason(waiting: Waiting, now: number): string {
  if (waiting.notBefore !== undefined && waiting.notBefore > now) {
    return `Waits for its retry at ${new Date(waiting.notBefore).toISOString()}`;
  }
  if (waiting.workers.length === 0) return "No worker is connected";
  const fitting = waiting.workers.filter((worker) => matches(waiting.selector, worker.labels));
  if (fitting.length === 0) {
    const wanted = Object.entries(waiting.selector).map(([name, value]) => `${name}=${value}`);
    return `No connected worker has ${wanted.length === 1 ? "the label" : "all of the labels"} ${
      wanted.join(", ")
    }`;
  }
  const large = fitting.filter((worker) => hasResources(worker.resources, waiting.resources));
  const resources = showResources(waiting.resources ?? {});
  if (large.length === 0) return `No connected worker that matches has ${resources}`;
  const active = large.filter((worker) => !worker.draining);
  if (active.length === 0) return "Every worker that fits is drained";
  const heard = active.filter((worker) => worker.health === "healthy");
  if (heard.length === 0) return "Every worker that fits is late with its heartbeat";
  const ill = heard[0]!;
  if (heard.every((worker) => worker.trouble !== undefined)) {
    return `No worker that fits can start tasks now; ${ill.id}: ${ill.trouble}`;
  }
  return resources === "" ? "Waits for a free slot" : `Waits for a free slot and ${resources}`;
}
