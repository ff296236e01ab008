import { type FollowedItem, type StateChange, TaskError } from "../tasks/service.ts";
import {
  type Artifact,
  type Assignment,
  type Attempt,
  type AttemptRef,
  type AttemptResult,
  isFinished,
  type StateEntry,
  type Task,
  type TaskSpec,
  type TaskState,
  type WorkerHealth,
  type WorkerInfo,
} from "../tasks/task.ts";
import type * as wire from "./gen/agent/v1/agent.ts";
import { wireHealth, wireState, wireStream } from "./to_wire.ts";

/**
 * Messages as domain values. What has no meaning here (a missing part, an unknown state, a number
 * beyond 2^53) is `TaskError` "invalid"; bounds are the business of whom it is for.
 */

function inverted<K extends string, V>(table: Record<K, V>): ReadonlyMap<V, K> {
  return new Map(Object.entries(table).map(([key, value]) => [value as V, key as K]));
}
const states = inverted<TaskState, wire.TaskState>(wireState);
const streams = inverted<"stdout" | "stderr", wire.Stream>(wireStream);
const healths = inverted<WorkerHealth, wire.WorkerHealth>(wireHealth);

function known<K, V>(what: string, table: ReadonlyMap<V, K>, value: V): K {
  const found = table.get(value);
  if (found === undefined) throw new TaskError("invalid", `Unknown ${what} ${value}`);
  return found;
}

export const stateFrom = (value: wire.TaskState) => known("task state", states, value);
export const streamFrom = (value: wire.Stream) => known("stream", streams, value);

/** A part of a message that must be there. */
export function required<T>(what: string, value: T | undefined): T {
  if (value === undefined) throw new TaskError("invalid", `${what} is missing`);
  return value;
}

export function numberFrom(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new TaskError("invalid", `${value} is larger than any number that is meant here`);
  }
  return Number(value);
}

export function timeFrom(value: Date | undefined): number | undefined {
  if (value === undefined) return undefined;
  const ms = value.getTime();
  if (Number.isNaN(ms)) throw new TaskError("invalid", "A time is out of range");
  return ms;
}

/** The empty text stands for none. */
export const textFrom = (value: string) => value === "" ? undefined : value;

export function refFrom(value: wire.AttemptRef | undefined): AttemptRef {
  const ref = required("The attempt", value);
  return { taskId: ref.taskId, attempt: ref.attempt, fence: numberFrom(ref.fence) };
}

export function specFrom(value: wire.TaskSpec | undefined): TaskSpec {
  const spec = required("The task", value);
  return {
    argv: spec.argv,
    env: Object.fromEntries(spec.env),
    cwd: textFrom(spec.cwd),
    selector: Object.fromEntries(spec.selector),
    timeoutMs: spec.timeoutMs === 0n ? undefined : numberFrom(spec.timeoutMs),
    retries: spec.retries,
    retryDelayMs: numberFrom(spec.retryDelayMs),
    artifacts: spec.artifacts,
    ...(spec.noRequeue ? { noRequeue: true } : {}),
    ...(spec.maxLost === undefined ? {} : { maxLost: spec.maxLost }),
    ...(spec.lostAfterMs === undefined ? {} : { lostAfterMs: numberFrom(spec.lostAfterMs) }),
    // A copy: the message that holds it, with up to 4 MiB, is not kept for it.
    ...(spec.stdin.length === 0 ? {} : { stdin: new Uint8Array(spec.stdin) }),
    ...(spec.stdinBytes === 0 ? {} : { stdinBytes: spec.stdinBytes }),
    ...(spec.resources.size === 0 ? {} : { resources: Object.fromEntries(spec.resources) }),
    ...(spec.atOnce === 0 ? {} : { atOnce: spec.atOnce }),
  };
}

/** Undefined for what only a later version knows. */
export function followedFrom(
  { item }: wire.FollowedItem,
  taskFrom: ReturnType<typeof taskReader>,
): FollowedItem | undefined {
  switch (item?.$case) {
    case "finished":
      return { finished: taskFrom(item.value) };
    case "begun":
      return { taskId: item.value.taskId, begun: item.value.attempt };
    case "output": {
      const { taskId, attempt, stream, offset, data } = item.value;
      const piece = { attempt, stream: streamFrom(stream), offset: numberFrom(offset), data };
      return { taskId, piece };
    }
  }
}

export function assignmentFrom(value: wire.Assignment): Assignment {
  return {
    ref: refFrom(value.ref),
    spec: specFrom(value.spec),
    arrayId: textFrom(value.arrayId),
    arrayIndex: value.arrayIndex,
    ...(value.granted.length === 0 ? {} : {
      granted: Object.fromEntries(value.granted.map(({ name, numbers }) => [name, numbers])),
    }),
  };
}

function attemptFrom(value: wire.Attempt): Attempt {
  return {
    attempt: value.attempt,
    fence: numberFrom(value.fence),
    workerId: value.workerId,
    state: stateFrom(value.state),
    assignedAt: required("A time", timeFrom(value.assignedAt)),
    startedAt: timeFrom(value.startedAt),
    finishedAt: timeFrom(value.finishedAt),
    exitCode: value.exitCode,
    signal: textFrom(value.signal),
    reason: textFrom(value.reason),
    stdoutBytes: numberFrom(value.stdoutBytes),
    stderrBytes: numberFrom(value.stderrBytes),
    superseded: value.superseded,
  };
}

/** Reads the tasks of one stream of answers, which were asked for with `specs_once`. */
export function taskReader(): (value: wire.Task | undefined) => Task {
  let former: TaskSpec | undefined;
  return (value) => {
    const task = taskFrom(value, former);
    former = task.spec;
    return task;
  };
}

/** @param former what a task without a spec has. */
export function taskFrom(value: wire.Task | undefined, former?: TaskSpec): Task {
  const task = required("The task", value);
  return {
    id: task.id,
    spec: task.spec === undefined && former !== undefined ? former : specFrom(task.spec),
    state: stateFrom(task.state),
    submittedAt: required("A time", timeFrom(task.submittedAt)),
    finishedAt: timeFrom(task.finishedAt),
    attempts: task.attempts.map(attemptFrom),
    arrayId: textFrom(task.arrayId),
    arrayIndex: task.arrayIndex,
    notBefore: timeFrom(task.notBefore),
    cancelRequested: task.cancelRequested,
    reason: textFrom(task.reason),
    ...(task.submitter === undefined ? {} : { submitter: task.submitter }),
  };
}

export function resultFrom(value: wire.Finished): AttemptResult {
  const state = stateFrom(value.state);
  if (!isFinished(state)) throw new TaskError("invalid", `An attempt cannot end as "${state}"`);
  return {
    ref: refFrom(value.ref),
    state,
    exitCode: value.exitCode,
    signal: textFrom(value.signal),
    reason: textFrom(value.reason),
    startedAt: timeFrom(value.startedAt),
    finishedAt: required("A time", timeFrom(value.finishedAt)),
    stdoutBytes: numberFrom(value.stdoutBytes),
    stderrBytes: numberFrom(value.stderrBytes),
    ...(value.stdout.length + value.stderr.length === 0
      ? {}
      : { output: { stdout: value.stdout, stderr: value.stderr } }),
  };
}

/** Undefined for what this version does not know. */
export function stateChangeFrom({ change }: wire.WatchStateResponse): StateChange | undefined {
  switch (change?.$case) {
    case "entry":
      return { entry: entryFrom(change.value) };
    case "deletedKey":
      return { deletedKey: change.value };
    case "complete":
      return { complete: true };
    default:
      return undefined;
  }
}

export function artifactFrom(value: wire.Artifact): Artifact {
  return { ...value, size: numberFrom(value.size) };
}

export function workerFrom(value: wire.Worker | undefined): WorkerInfo {
  const worker = required("The worker", value);
  return {
    id: worker.id,
    version: worker.version,
    labels: Object.fromEntries(worker.labels),
    slots: worker.slots,
    running: worker.running,
    assigned: worker.assigned,
    health: known("worker health", healths, worker.health),
    draining: worker.draining,
    connected: worker.connected,
    connectedAt: timeFrom(worker.connectedAt),
    lastHeartbeatAt: timeFrom(worker.lastHeartbeatAt),
    address: worker.address,
    identity: textFrom(worker.identity),
    warnings: worker.warnings,
    trouble: textFrom(worker.trouble),
    ...(worker.resources.size === 0 ? {} : {
      resources: Object.fromEntries(worker.resources),
      resourcesUsed: Object.fromEntries(worker.resourcesUsed),
    }),
    ...(worker.fingerprint === "" ? {} : { fingerprint: worker.fingerprint }),
  };
}

export function entryFrom(value: wire.StateEntry | undefined): StateEntry {
  const entry = required("The entry", value);
  return {
    namespace: entry.namespace,
    key: entry.key,
    value: entry.value,
    revision: numberFrom(entry.revision),
    updatedAt: required("A time", timeFrom(entry.updatedAt)),
    ...(entry.updatedBy === undefined ? {} : { updatedBy: entry.updatedBy }),
  };
}
