/** What the REST API of a node says, as the task service has it. */
import type { TaskView, WorkerView } from "../client/views.ts";
import type { TaskDescription } from "../client/task_spec.ts";
import { type SubmitOptions, TaskError } from "../tasks/service.ts";
import type { StateEntry, Task, TaskSpec, WorkerInfo } from "../tasks/task.ts";

/** A task of a list; without a spec it has that of the task before it. */
export type ListedTask = Omit<TaskView, "spec"> & { spec: TaskView["spec"] | null };

export function descriptionOf(spec: TaskSpec, options: SubmitOptions = {}): TaskDescription {
  const { array, lines, idempotencyKey } = options;
  return {
    argv: spec.argv,
    env: spec.env,
    cwd: spec.cwd,
    selector: spec.selector,
    timeout_ms: spec.timeoutMs,
    retries: spec.retries,
    retry_delay_ms: spec.retryDelayMs,
    max_lost: spec.maxLost,
    lost_after_ms: spec.lostAfterMs,
    no_requeue: spec.noRequeue,
    resources: spec.resources,
    stdin_base64: spec.stdin?.toBase64(),
    artifacts: spec.artifacts,
    ...(array === undefined ? {} : { array: arrayText(array, spec.atOnce) }),
    ...(lines === undefined ? {} : { lines }),
    ...(idempotencyKey === undefined ? {} : { idempotency_key: idempotencyKey }),
  };
}

function arrayText(
  { first, last, more = [] }: NonNullable<SubmitOptions["array"]>,
  atOnce: number | undefined,
): string {
  const ranges = [{ first, last }, ...more].map((range) => `${range.first}-${range.last}`);
  return ranges.join(",") + (atOnce === undefined ? "" : `%${atOnce}`);
}

export function tasksFrom({ tasks }: { tasks: ListedTask[] }): Task[] {
  return tasks.map(taskReader());
}

/** Reads tasks in the order in which the node gives them. */
export function taskReader(): (view: ListedTask) => Task {
  let former: TaskSpec | undefined;
  return (view) => {
    if (view.spec !== null) former = specOf(view.spec);
    if (former === undefined) throw new TaskError("internal", "The first task has no spec");
    return taskOf(view, former);
  };
}

export function specOf(spec: TaskView["spec"]): TaskSpec {
  return {
    argv: spec.argv,
    env: spec.env,
    cwd: spec.cwd ?? undefined,
    selector: spec.selector,
    timeoutMs: spec.timeout_ms ?? undefined,
    retries: spec.retries,
    retryDelayMs: spec.retry_delay_ms,
    ...(Object.keys(spec.resources).length === 0 ? {} : { resources: spec.resources }),
    ...(spec.stdin_bytes === 0 ? {} : { stdinBytes: spec.stdin_bytes }),
    ...(spec.at_once === null ? {} : { atOnce: spec.at_once }),
    ...(spec.max_lost === null ? {} : { maxLost: spec.max_lost }),
    ...(typeof spec.lost_after_ms === "number" ? { lostAfterMs: spec.lost_after_ms } : {}),
    artifacts: spec.artifacts,
  };
}

export function taskOf(view: Omit<TaskView, "spec">, spec: TaskSpec): Task {
  return {
    id: view.id,
    spec,
    state: view.state,
    submittedAt: Date.parse(view.submitted_at),
    finishedAt: timeOf(view.finished_at),
    attempts: view.attempts.map((each) => ({
      attempt: each.attempt,
      // Of the coordinator's own business; no client uses it.
      fence: 0,
      workerId: each.worker_id,
      state: each.state,
      assignedAt: Date.parse(each.assigned_at),
      startedAt: timeOf(each.started_at),
      finishedAt: timeOf(each.finished_at),
      exitCode: each.exit_code ?? undefined,
      signal: each.signal ?? undefined,
      reason: each.reason ?? undefined,
      stdoutBytes: each.stdout_bytes,
      stderrBytes: each.stderr_bytes,
      superseded: each.superseded,
    })),
    arrayId: view.array_id ?? undefined,
    arrayIndex: view.array_index ?? undefined,
    notBefore: timeOf(view.not_before),
    cancelRequested: view.cancel_requested,
    reason: view.reason ?? undefined,
    ...(view.submitter === null ? {} : { submitter: view.submitter }),
  };
}

export function workerOf(view: WorkerView): WorkerInfo {
  return {
    id: view.id,
    version: view.version,
    labels: view.labels,
    slots: view.slots,
    running: view.running,
    // Nodes before this one do not say.
    assigned: view.assigned ?? 0,
    health: view.health,
    draining: view.draining,
    connected: view.connected,
    connectedAt: timeOf(view.connected_at),
    lastHeartbeatAt: timeOf(view.last_heartbeat_at),
    address: view.address,
    identity: view.identity ?? undefined,
    fingerprint: view.fingerprint ?? undefined,
    resources: view.resources,
    resourcesUsed: view.resources_used,
    warnings: view.warnings,
    trouble: view.trouble ?? undefined,
  };
}

export interface StateJson {
  namespace: string;
  key: string;
  revision: number;
  updated_at: string;
  value?: string;
  value_base64?: string;
}

export function stateOf(json: StateJson): StateEntry {
  const { namespace, key, revision, value, value_base64: base64 } = json;
  const updatedAt = Date.parse(json.updated_at);
  return { namespace, key, revision, updatedAt, value: bytesOf(value, base64) };
}

function timeOf(text: string | null): number | undefined {
  return text === null ? undefined : Date.parse(text);
}

export function bytesOf(text: string | undefined, base64: string | undefined): Uint8Array {
  return base64 === undefined
    ? new TextEncoder().encode(text ?? "")
    : Uint8Array.fromBase64(base64);
}
