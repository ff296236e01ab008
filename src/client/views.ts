import { newSpecs } from "../tasks/repeated_specs.ts";
import type { Artifact, Attempt, StateEntry, Task, WorkerInfo } from "../tasks/task.ts";

/** JSON views, for `--json` and the REST API: snake_case, RFC 3339 times in UTC, null for no value. */
export type TaskView = ReturnType<typeof taskView>;
export type WorkerView = ReturnType<typeof workerView>;

export function taskView(task: Task) {
  return {
    id: task.id,
    state: task.state,
    reason: task.reason ?? null,
    spec: {
      argv: task.spec.argv,
      env: task.spec.env,
      cwd: task.spec.cwd ?? null,
      selector: task.spec.selector,
      timeout_ms: task.spec.timeoutMs ?? null,
      retries: task.spec.retries,
      retry_delay_ms: task.spec.retryDelayMs,
      resources: task.spec.resources ?? {},
      stdin_bytes: task.spec.stdin?.length ?? task.spec.stdinBytes ?? 0,
      at_once: task.spec.atOnce ?? null,
      lost_after_ms: task.spec.lostAfterMs ?? null,
      max_lost: task.spec.noRequeue ? 0 : task.spec.maxLost ?? null,
      artifacts: task.spec.artifacts,
    },
    array_id: task.arrayId ?? null,
    array_index: task.arrayIndex ?? null,
    submitted_at: timestamp(task.submittedAt)!,
    finished_at: timestamp(task.finishedAt),
    not_before: timestamp(task.notBefore),
    cancel_requested: task.cancelRequested,
    submitter: task.submitter ?? null,
    attempts: task.attempts.map(attemptView),
  };
}

/** Views of tasks in their order: one whose spec is that of the task before it has null in its place. */
export function taskViewsOnce(): (
  task: Task,
) => Omit<TaskView, "spec"> & { spec: TaskView["spec"] | null } {
  const isNew = newSpecs();
  return (task) => isNew(task) ? taskView(task) : { ...taskView(task), spec: null };
}

/** Whether a worker has it and has not started it yet; its state is "running" from then on. */
export function isAssigned({ state, attempts }: TaskView): boolean {
  return state === "running" && attempts.at(-1)?.started_at === null;
}

function attemptView(attempt: Attempt) {
  return {
    attempt: attempt.attempt,
    worker_id: attempt.workerId,
    state: attempt.state,
    reason: attempt.reason ?? null,
    exit_code: attempt.exitCode ?? null,
    signal: attempt.signal ?? null,
    assigned_at: timestamp(attempt.assignedAt)!,
    started_at: timestamp(attempt.startedAt),
    finished_at: timestamp(attempt.finishedAt),
    stdout_bytes: attempt.stdoutBytes,
    stderr_bytes: attempt.stderrBytes,
    superseded: attempt.superseded,
  };
}

export function workerView(worker: WorkerInfo) {
  return {
    id: worker.id,
    health: worker.health,
    connected: worker.connected,
    draining: worker.draining,
    slots: worker.slots,
    running: worker.running,
    assigned: worker.assigned,
    labels: worker.labels,
    version: worker.version,
    address: worker.address,
    identity: worker.identity ?? null,
    fingerprint: worker.fingerprint ?? null,
    resources: worker.resources ?? {},
    resources_used: worker.resourcesUsed ?? {},
    connected_at: timestamp(worker.connectedAt),
    last_heartbeat_at: timestamp(worker.lastHeartbeatAt),
    warnings: worker.warnings,
    trouble: worker.trouble ?? null,
  };
}

export function artifactView(artifact: Artifact) {
  return {
    path: artifact.path,
    size: artifact.size,
    sha256: artifact.sha256,
    mode: artifact.mode.toString(8).padStart(4, "0"),
    attempt: artifact.attempt,
  };
}

/** A value that is UTF-8 is shown as text, any other in base64. */
export function stateView(entry: StateEntry) {
  return {
    namespace: entry.namespace,
    key: entry.key,
    revision: entry.revision,
    updated_at: timestamp(entry.updatedAt)!,
    updated_by: entry.updatedBy ?? null,
    ...textOrBase64(entry.value, "value"),
  };
}

/** `{"data": "text"}`, or `{"data_base64": "…"}` for what is not UTF-8. */
export function textOrBase64(bytes: Uint8Array, name: string): Record<string, string> {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return { [name]: text };
  } catch {
    return { [`${name}_base64`]: bytes.toBase64() };
  }
}

/** RFC 3339 in UTC, or null. */
function timestamp(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
