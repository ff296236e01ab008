import { leaseTimes } from "../tasks/limits.ts";

/**
 * Until when a worker may rely on a lease, by the clock of `sentAt`. It counts from the sending of the
 * heartbeat, since the coordinator counts from its arrival. See `leaseTimes`.
 */
function leaseUntil(sentAt: number, leaseMs: number): number {
  return sentAt + leaseMs * leaseTimes.workerEndsMs / leaseTimes.leaseMs;
}

/**
 * The same for a coordinator that stops and promises to keep the leases for `holdMs`. The promise came
 * after the acknowledgement of the heartbeat of `sentAt`; its exact time is unknown.
 */
function heldUntil(sentAt: number, holdMs: number): number {
  return sentAt + Math.max(0, holdMs - (leaseTimes.leaseMs - leaseTimes.workerEndsMs));
}

/** What a coordinator promised with the heartbeat of `sentAt`, and after it when it stops. */
export interface LeaseTerms {
  sentAt: number;
  leaseMs: number;
  holdMs?: number;
}

/** A hundred years. */
const forEver = 100 * 365 * 86_400_000;

/** Until when an attempt may run, by the clock of `sentAt`; `lostAfterMs`: of its task, see `TaskSpec`. */
export function validUntil(terms: LeaseTerms, lostAfterMs: number | undefined): number {
  const { sentAt, leaseMs, holdMs } = terms;
  if (lostAfterMs === 0) return sentAt + forEver;
  const until = leaseUntil(sentAt, lostAfterMs ?? leaseMs);
  return holdMs === undefined ? until : Math.max(until, heldUntil(sentAt, holdMs));
}

/** How the runner knows a lease: attempts of one coordinator whose leases are equally long share it. */
export function leaseName(address: string, lostAfterMs: number | undefined): string {
  return lostAfterMs === undefined ? address : `${address} ${lostAfterMs}`;
}
