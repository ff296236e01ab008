import type {
  Artifact,
  Attempt,
  Identity,
  Labels,
  StateEntry,
  Task,
  TaskSpec,
} from "../../tasks/task.ts";
import type { QueuedTask } from "../../coordinator/task_queue.ts";
import type { StoredHolder, StoredLease, StoredWorker, TaskRow } from "../../coordinator/store.ts";

/** In the order of `taskStates`, which this folder may only know as a type. */
export const stateNames = [
  "queued",
  "running",
  "succeeded",
  "failed",
  "cancelled",
  "timed_out",
  "lost",
] as const;

export type Row = Record<string, unknown>;

function optional<T>(value: unknown): T | undefined {
  return value === null ? undefined : value as T;
}

function fromJson<T>(value: unknown): T | undefined {
  return value === null ? undefined : JSON.parse(value as string);
}

export function taskOf(
  row: Row,
  spec: TaskSpec,
  attempts: Attempt[],
  submitter: Identity | undefined,
): Task {
  return {
    id: row.id as string,
    spec,
    state: stateNames[row.state as number]!,
    submittedAt: row.submitted_at as number,
    finishedAt: optional(row.finished_at),
    attempts,
    arrayId: optional(row.array_id),
    arrayIndex: optional(row.array_index),
    notBefore: optional(row.not_before),
    cancelRequested: row.cancel_requested === 1,
    reason: optional(row.reason),
    ...(submitter === undefined ? {} : { submitter }),
  };
}

export function taskRowOf(row: Row): TaskRow {
  return {
    seq: row.seq as number,
    id: row.id as string,
    state: stateNames[row.state as number]!,
    submittedAt: row.submitted_at as number,
    finishedAt: optional(row.finished_at),
    attempts: row.attempts as number,
  };
}

/** JSON leaves out what is undefined; the fields come back so that records compare equal. */
export function specOf(json: string): TaskSpec {
  const spec = JSON.parse(json);
  const input = spec.stdin === undefined ? {} : { stdin: Uint8Array.fromBase64(spec.stdin) };
  return { ...spec, ...input, cwd: spec.cwd, timeoutMs: spec.timeoutMs };
}

export function attemptOf(row: Row): Attempt {
  return {
    attempt: row.attempt as number,
    fence: row.fence as number,
    workerId: row.worker_id as string,
    state: stateNames[row.state as number]!,
    assignedAt: row.assigned_at as number,
    startedAt: optional(row.started_at),
    finishedAt: optional(row.finished_at),
    exitCode: optional(row.exit_code),
    signal: optional(row.signal),
    reason: optional(row.reason),
    stdoutBytes: row.stdout_bytes as number,
    stderrBytes: row.stderr_bytes as number,
    superseded: row.superseded === 1,
  };
}

/** @param array stands in for the task's own spec where it is an element of an array. */
export function queuedOf(row: Row, array?: TaskSpec): QueuedTask {
  return {
    seq: row.seq as number,
    id: row.id as string,
    selector: array?.selector ?? labelsOf(row.selector),
    atOnce: array?.atOnce,
    resources: array === undefined ? fromJson(row.resources) : array.resources,
    notBefore: optional(row.not_before),
    failures: row.failures as number,
    losses: row.losses as number,
    attempts: row.attempts as number,
    spec: undefined,
  };
}

export function leaseOf(row: Row): StoredLease {
  const spec = specOf(row.spec as string);
  return {
    seq: row.seq as number,
    ref: { taskId: row.id as string, attempt: row.attempt as number, fence: row.fence as number },
    holder: row.holder as number,
    selector: spec.selector,
    retries: spec.retries,
    retryDelayMs: spec.retryDelayMs,
    failures: row.failures as number,
    losses: row.losses as number,
    maxLost: spec.noRequeue ? 0 : spec.maxLost,
    lostAfterMs: spec.lostAfterMs,
    atOnce: spec.atOnce,
    resources: spec.resources,
    granted: fromJson(row.granted),
    startedAt: optional(row.started_at),
    cancelRequested: row.cancel_requested === 1,
  };
}

export function holderOf(row: Row): StoredHolder {
  return {
    id: row.id as number,
    workerId: row.worker_id as string,
    instance: row.instance as string,
    home: optional(row.home),
    holdMs: row.hold_ms as number,
    leaseMs: row.lease_ms as number,
    keepsTaskLeases: row.keeps_task_leases === 1,
  };
}

export function workerOf(row: Row): StoredWorker {
  return {
    id: row.id as string,
    version: row.version as string,
    labels: JSON.parse(row.labels as string),
    slots: row.slots as number,
    draining: row.draining === 1,
    connectedAt: row.connected_at as number,
    address: row.address as string,
    identity: optional(row.identity),
    warnings: JSON.parse(row.warnings as string),
    owner: optional(row.owner),
    fingerprint: optional(row.fingerprint),
    resources: fromJson(row.resources),
  };
}

export function artifactOf(row: Row): Artifact {
  return {
    path: row.path as string,
    size: row.size as number,
    sha256: row.sha256 as string,
    mode: row.mode as number,
    attempt: row.attempt as number,
  };
}

export function entryOf(row: Row, updatedBy: Identity | undefined): StateEntry {
  return {
    namespace: row.namespace as string,
    key: row.key as string,
    value: row.value as Uint8Array,
    revision: row.revision as number,
    updatedAt: row.updated_at as number,
    ...(updatedBy === undefined ? {} : { updatedBy }),
  };
}

/** Most tasks select nothing; they share one object. */
const anything: Labels = Object.freeze({});

function labelsOf(json: unknown): Labels {
  return json === null ? anything : JSON.parse(json as string);
}
