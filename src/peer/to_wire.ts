import { Buffer } from "node:buffer";
import type {
  Artifact,
  Assignment,
  Attempt,
  AttemptRef,
  AttemptResult,
  StateEntry,
  Task,
  TaskSpec,
  TaskState,
  WorkerHealth,
  WorkerInfo,
} from "../tasks/task.ts";
import type { GrantedResources } from "../tasks/resources.ts";
import type { FollowedItem, StateChange } from "../tasks/service.ts";
import { specBytes } from "../tasks/spec_size.ts";
import * as wire from "./gen/agent/v1/agent.ts";

/** Domain values as messages. Absent texts and times are the wire's empty ones. */

export const wireState: Record<TaskState, wire.TaskState> = {
  queued: wire.TaskState.TASK_STATE_QUEUED,
  running: wire.TaskState.TASK_STATE_RUNNING,
  succeeded: wire.TaskState.TASK_STATE_SUCCEEDED,
  failed: wire.TaskState.TASK_STATE_FAILED,
  cancelled: wire.TaskState.TASK_STATE_CANCELLED,
  timed_out: wire.TaskState.TASK_STATE_TIMED_OUT,
  lost: wire.TaskState.TASK_STATE_LOST,
};

export const wireStream: Record<"stdout" | "stderr", wire.Stream> = {
  stdout: wire.Stream.STREAM_STDOUT,
  stderr: wire.Stream.STREAM_STDERR,
};

export const wireHealth: Record<WorkerHealth, wire.WorkerHealth> = {
  healthy: wire.WorkerHealth.WORKER_HEALTH_HEALTHY,
  late: wire.WorkerHealth.WORKER_HEALTH_LATE,
  lost: wire.WorkerHealth.WORKER_HEALTH_LOST,
};

export function wireTime(ms: number): Date;
export function wireTime(ms: number | undefined): Date | undefined;
export function wireTime(ms: number | undefined): Date | undefined {
  return ms === undefined ? undefined : new Date(ms);
}

/** Converts bytes without copying them. */
export function wireBytes(data: Uint8Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

export function wireRef(ref: AttemptRef): wire.AttemptRef {
  return { taskId: ref.taskId, attempt: ref.attempt, fence: BigInt(ref.fence) };
}

const wireSpecs = new WeakMap<TaskSpec, wire.TaskSpec>();

/** Elements of an array share one spec, and one message, which must not be changed. */
export function wireSpec(spec: TaskSpec): wire.TaskSpec {
  let message = wireSpecs.get(spec);
  if (message === undefined) wireSpecs.set(spec, message = newWireSpec(spec));
  return message;
}

const noBytes = wireBytes(new Uint8Array());
const withoutInput = new WeakMap<TaskSpec, TaskSpec>();

/** A client that lists a thousand tasks does not want a gigabyte of their input. */
function forClients(spec: TaskSpec): TaskSpec {
  const { stdin, ...rest } = spec;
  if (stdin === undefined) return spec;
  let shown = withoutInput.get(spec);
  if (shown === undefined) withoutInput.set(spec, shown = { ...rest, stdinBytes: stdin.length });
  return shown;
}

function newWireSpec(spec: TaskSpec): wire.TaskSpec {
  return {
    argv: spec.argv,
    env: new Map(Object.entries(spec.env)),
    cwd: spec.cwd ?? "",
    selector: new Map(Object.entries(spec.selector)),
    timeoutMs: BigInt(spec.timeoutMs ?? 0),
    retries: spec.retries,
    retryDelayMs: BigInt(spec.retryDelayMs),
    artifacts: spec.artifacts,
    noRequeue: spec.noRequeue ?? false,
    maxLost: spec.maxLost,
    lostAfterMs: spec.lostAfterMs === undefined ? undefined : BigInt(spec.lostAfterMs),
    atOnce: spec.atOnce ?? 0,
    stdin: spec.stdin === undefined ? noBytes : wireBytes(spec.stdin),
    stdinBytes: spec.stdinBytes ?? 0,
    resources: new Map(Object.entries(spec.resources ?? {})),
  };
}

const noResources: wire.GrantedResource[] = [];

function wireGranted(granted: GrantedResources): wire.GrantedResource[] {
  return Object.entries(granted).map(([name, numbers]) => ({ name, numbers: [...numbers] }));
}

/** @param spec as of `wireTask`, for a task that has finished. */
export function wireFollowed(item: FollowedItem, spec = true): wire.FollowedItem {
  if ("finished" in item) {
    return { item: { $case: "finished", value: wireTask(item.finished, spec) } };
  }
  const { taskId } = item;
  if ("begun" in item) {
    return { item: { $case: "begun", value: { taskId, attempt: item.begun } } };
  }
  const { attempt, stream, offset, data } = item.piece;
  const output = {
    ...{ taskId, attempt, stream: wireStream[stream] },
    ...{ offset: BigInt(offset), data: wireBytes(data) },
  };
  return { item: { $case: "output", value: output } };
}

/** What an item takes when it is encoded, or a little more. */
export function followedItemBytes(item: FollowedItem, spec = true): number {
  if ("finished" in item) return taskBytes(item.finished, spec);
  return 256 + ("piece" in item ? item.piece.data.length : 0);
}

/** How much of a reader's window a message takes; see `FollowTasksRequest.window`. */
export function followedBytes({ items }: wire.FollowTasksResponse): number {
  return items.reduce(
    (sum, { item }) => sum + 256 + (item?.$case === "output" ? item.value.data.length : 0),
    0,
  );
}

export function wireAssignment(assignment: Assignment): wire.Assignment {
  return {
    ref: wireRef(assignment.ref),
    spec: wireSpec(assignment.spec),
    arrayId: assignment.arrayId ?? "",
    arrayIndex: assignment.arrayIndex,
    granted: assignment.granted === undefined ? noResources : wireGranted(assignment.granted),
  };
}

function wireAttempt(attempt: Attempt): wire.Attempt {
  return {
    attempt: attempt.attempt,
    fence: BigInt(attempt.fence),
    workerId: attempt.workerId,
    state: wireState[attempt.state],
    assignedAt: wireTime(attempt.assignedAt),
    startedAt: wireTime(attempt.startedAt),
    finishedAt: wireTime(attempt.finishedAt),
    exitCode: attempt.exitCode,
    signal: attempt.signal ?? "",
    reason: attempt.reason ?? "",
    stdoutBytes: BigInt(attempt.stdoutBytes),
    stderrBytes: BigInt(attempt.stderrBytes),
    superseded: attempt.superseded,
  };
}

/** @param spec false where the reader has it already; see `GetTaskRequest.specs_once`. */
export function wireTask(task: Task, spec = true): wire.Task {
  return {
    id: task.id,
    spec: spec ? wireSpec(forClients(task.spec)) : undefined,
    state: wireState[task.state],
    submittedAt: wireTime(task.submittedAt),
    finishedAt: wireTime(task.finishedAt),
    attempts: task.attempts.map(wireAttempt),
    arrayId: task.arrayId ?? "",
    arrayIndex: task.arrayIndex,
    notBefore: wireTime(task.notBefore),
    cancelRequested: task.cancelRequested,
    reason: task.reason ?? "",
    submitter: task.submitter,
  };
}

export function wireResult(result: AttemptResult): wire.Finished {
  return {
    ref: wireRef(result.ref),
    state: wireState[result.state],
    exitCode: result.exitCode,
    signal: result.signal ?? "",
    reason: result.reason ?? "",
    startedAt: wireTime(result.startedAt),
    finishedAt: wireTime(result.finishedAt),
    stdoutBytes: BigInt(result.stdoutBytes),
    stderrBytes: BigInt(result.stderrBytes),
    stdout: result.output === undefined ? noBytes : wireBytes(result.output.stdout),
    stderr: result.output === undefined ? noBytes : wireBytes(result.output.stderr),
  };
}

export function wireArtifact(artifact: Artifact): wire.Artifact {
  return { ...artifact, size: BigInt(artifact.size) };
}

export function wireWorker(worker: WorkerInfo): wire.Worker {
  return {
    id: worker.id,
    version: worker.version,
    labels: new Map(Object.entries(worker.labels)),
    slots: worker.slots,
    running: worker.running,
    assigned: worker.assigned,
    health: wireHealth[worker.health],
    draining: worker.draining,
    connected: worker.connected,
    connectedAt: wireTime(worker.connectedAt),
    lastHeartbeatAt: wireTime(worker.lastHeartbeatAt),
    address: worker.address,
    identity: worker.identity ?? "",
    warnings: worker.warnings,
    trouble: worker.trouble ?? "",
    fingerprint: worker.fingerprint ?? "",
    resources: new Map(Object.entries(worker.resources ?? {})),
    resourcesUsed: new Map(Object.entries(worker.resourcesUsed ?? {})),
  };
}

export function wireEntry(entry: StateEntry): wire.StateEntry {
  return {
    namespace: entry.namespace,
    key: entry.key,
    value: wireBytes(entry.value),
    revision: BigInt(entry.revision),
    updatedAt: wireTime(entry.updatedAt),
    updatedBy: entry.updatedBy,
  };
}

export function wireStateChange(
  change: StateChange,
): NonNullable<wire.WatchStateResponse["change"]> {
  if ("entry" in change) return { $case: "entry", value: wireEntry(change.entry) };
  if ("complete" in change) return { $case: "complete", value: true };
  return { $case: "deletedKey", value: change.deletedKey };
}

/** At most what a task takes when it is encoded, with or without its spec. */
export function taskBytes(task: Task, spec = true): number {
  const texts = (task.reason?.length ?? 0) + (task.submitter?.name.length ?? 0) +
    task.attempts.reduce((sum, each) => sum + each.workerId.length + (each.reason?.length ?? 0), 0);
  // 120 bytes of numbers and times each; a letter takes up to 3.
  return (spec ? specBytes(task.spec) : 0) + 300 + 150 * task.attempts.length + 3 * texts;
}

/** At most what an assignment takes when it is encoded. */
export function assignmentBytes({ spec }: Assignment): number {
  return specBytes(spec) + 100;
}

/** At most what a worker takes when it is encoded. */
export function workerBytes({ labels, warnings, trouble = "" }: WorkerInfo): number {
  const texts = [...Object.entries(labels).flat(), ...warnings, trouble];
  return 1_000 + texts.reduce((sum, text) => sum + 8 + 3 * text.length, 0);
}
