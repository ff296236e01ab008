import { leaseTimes } from "../tasks/limits.ts";

/** The share of a lease after which a worker ends its processes: see `leaseTimes`. */
const share = leaseTimes.workerEndsMs / leaseTimes.leaseMs;

/**
 * Until when a worker may rely on a lease, by the clock of `sentAt`. It counts from the sending of the
 * heartbeat, since the coordinator counts from its arrival.
 */
export function leaseUntil(sentAt: number, leaseMs: number): number {
  return sentAt + leaseMs * share;
}

/**
 * The same for a coordinator that stops and promises to keep the leases for `holdMs`. The promise came
 * after the acknowledgement of the heartbeat of `sentAt`; its exact time is unknown.
 */
export function heldUntil(sentAt: number, holdMs: number): number {
  return sentAt + Math.max(0, holdMs - (leaseTimes.leaseMs - leaseTimes.workerEndsMs));
}
