import { leaseTimes } from "../tasks/limits.ts";

/** The share of a lease after which a worker ends its processes: see `leaseTimes`. */
const share = leaseTimes.workerEndsMs / leaseTimes.leaseMs;

/**
 * Until when a worker may rely on a lease, by the clock of which `sentAt` is a time: counted from
 * when the heartbeat was sent, since the coordinator counts from when it came.
 */
export function leaseUntil(sentAt: number, leaseMs: number): number {
  return sentAt + leaseMs * share;
}

/**
 * The same for a coordinator that stops and promised to keep the leases for `holdMs`. It said so
 * after it had acknowledged the heartbeat of `sentAt`, which is all that is known of when.
 */
export function heldUntil(sentAt: number, holdMs: number): number {
  return sentAt + Math.max(0, holdMs - (leaseTimes.leaseMs - leaseTimes.workerEndsMs));
}
