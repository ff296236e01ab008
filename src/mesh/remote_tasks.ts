/** The tasks of a node's coordinators over its REST API, as the task service that commands use. */
import type { TaskView, WorkerView } from "../client/views.ts";
import type { TaskDescription } from "../client/task_spec.ts";
import {
  type LogPiece,
  type SubmitOptions,
  type TaskChange,
  TaskError,
  type TaskErrorCode,
  taskErrorCodes,
  type TaskService,
} from "../tasks/service.ts";
import {
  type Artifact,
  isFinished,
  type StateEntry,
  type Task,
  type TaskSpec,
  type WorkerInfo,
} from "../tasks/task.ts";
import { type NodeClient, NodeRefusal } from "./node_client.ts";

/** More pages than this many tasks is nothing that a command shows. */
const unfinishedTasks = 1_000;

type Call = <T>(...args: Parameters<NodeClient["call"]>) => Promise<T>;

export function remoteTasks(node: NodeClient): TaskService {
  const call: Call = async <T>(...args: Parameters<NodeClient["call"]>) => {
    try {
      return await node.call(...args) as T;
    } catch (error) {
      throw taskError(error);
    }
  };
  return { ...tasksOver(node, call), ...filesOver(node, call), ...workersAndState(call) };
}

function tasksOver(node: NodeClient, call: Call) {
  const tasksOf = async (method: "GET" | "POST" | "DELETE", path: string) =>
    (await call<{ tasks: TaskView[] }>(method, path)).tasks.map(taskOf);
  const list: TaskService["listTasks"] = async ({ states, limit, before, submitter }) => {
    const query = queryOf({ state: states?.join(","), limit, before, submitter });
    const { tasks, more } = await call<{ tasks: TaskView[]; more: boolean }>(
      "GET",
      `/api/tasks${query}`,
    );
    return { tasks: tasks.map(taskOf), more };
  };
  const current = async (ids: string[]) => {
    if (ids.length > 0) {
      return (await Promise.all(ids.map((id) => tasksOf("GET", `/api/tasks/${part(id)}`)))).flat();
    }
    return (await list({ states: ["queued", "running"], limit: unfinishedTasks })).tasks;
  };
  return {
    async submit(spec, options) {
      const made = await call<{ id: string; task_ids: string[]; existing: boolean }>(
        "POST",
        "/api/tasks",
        descriptionOf(spec, options),
      );
      return { id: made.id, taskIds: made.task_ids, existing: made.existing };
    },
    getTask: (id) => tasksOf("GET", `/api/tasks/${part(id)}`),
    listTasks: list,
    async *watchTasks(ids, signal) {
      for await (const change of watch(node, ids, signal, () => current(ids))) {
        if ("task" in change) yield change.task;
      }
    },
    watchChanges: (signal) => watch(node, [], signal, () => current([])),
    cancelTask: (id) => tasksOf("POST", `/api/tasks/${part(id)}/cancel`),
    retryTask: (id) => tasksOf("POST", `/api/tasks/${part(id)}/retry`),
    deleteTask: (id) => tasksOf("DELETE", `/api/tasks/${part(id)}`),
    pruneTasks: ({ olderThanMs, states, dryRun }) => {
      const query = { older_than_ms: olderThanMs, state: states?.join(","), dry_run: dryRun };
      return call("POST", `/api/tasks/prune${queryOf(query)}`);
    },
  } satisfies Partial<TaskService>;
}

function filesOver(node: NodeClient, call: Call) {
  return {
    readLog: ({ taskId, attempt, follow, stdoutOffset, stderrOffset }, signal) => {
      const query = queryOf({
        attempt,
        follow: follow ? "true" : undefined,
        stdout_offset: stdoutOffset,
        stderr_offset: stderrOffset,
      });
      return readLog(node, `/api/tasks/${part(taskId)}/logs${query}`, signal);
    },
    async listArtifacts(id, attempt) {
      const path = `/api/tasks/${part(id)}/artifacts${queryOf({ attempt })}`;
      const { artifacts } = await call<
        { artifacts: (Omit<Artifact, "mode"> & { mode: string })[] }
      >(
        "GET",
        path,
      );
      return artifacts.map((each) => ({ ...each, mode: parseInt(each.mode, 8) }));
    },
    readArtifact: ({ taskId, attempt, path, offset = 0 }, signal) => {
      const name = path.split("/").map(part).join("/");
      const url = `/api/tasks/${part(taskId)}/artifacts/${name}${queryOf({ attempt })}`;
      return readArtifact(node, url, offset, signal);
    },
  } satisfies Partial<TaskService>;
}

function workersAndState(call: Call) {
  const worker = async (id: string, change: string) =>
    workerOf(await call<WorkerView>("POST", `/api/workers/${part(id)}/${change}`));
  const key = (namespace: string, name: string) => `/api/state/${part(namespace)}/${part(name)}`;
  return {
    listWorkers: async () =>
      (await call<{ workers: WorkerView[] }>("GET", "/api/workers")).workers.map(workerOf),
    drainWorker: (id) => worker(id, "drain"),
    resumeWorker: (id) => worker(id, "resume"),
    forgetWorker: (id) => worker(id, "forget"),
    getState: async (namespace, name) => stateOf(await call("GET", key(namespace, name))),
    putState: async (namespace, name, value, ifRevision) => {
      const path = key(namespace, name) + queryOf({ if_revision: ifRevision });
      return stateOf(await call("PUT", path, value));
    },
    deleteState: (namespace, name, ifRevision) =>
      call("DELETE", key(namespace, name) + queryOf({ if_revision: ifRevision })),
    listState: async (namespace, prefix) => {
      const path = `/api/state/${part(namespace)}${queryOf({ prefix: prefix || undefined })}`;
      return (await call<{ entries: StateJson[] }>("GET", path)).entries.map(stateOf);
    },
  } satisfies Partial<TaskService>;
}

/** Follows the node's events: what they overtake or miss is asked for again. */
async function* watch(
  node: NodeClient,
  ids: string[],
  signal: AbortSignal,
  current: () => Promise<Task[]>,
): AsyncGenerator<TaskChange> {
  const open = new Map<string, boolean>();
  const over = () => ids.length > 0 && open.size > 0 && ![...open.values()].includes(true);
  const seen = (task: Task) => {
    open.set(task.id, !isFinished(task.state));
    return { task };
  };
  const isWanted = ({ id, arrayId }: Task) =>
    ids.length === 0 || ids.includes(id) || (arrayId !== undefined && ids.includes(arrayId));
  let isAsked = false;
  for await (const event of eventsOf(node, signal)) {
    // The stream is open before the first question, so that no change falls between the two.
    if (!isAsked || event.name === "reset") {
      isAsked = true;
      for (const task of await current()) yield seen(task);
      if (over()) return;
    }
    if (event.name === "task_deleted") {
      const { id } = event.data as { id: string };
      if (ids.length === 0) yield { deletedId: id };
    }
    if (event.name !== "task") continue;
    const task = taskOf(event.data as TaskView);
    if (!isWanted(task)) continue;
    yield seen(task);
    if (over()) return;
  }
  if (!signal.aborted) throw new TaskError("unavailable", "The node ended the stream of events");
}

async function* eventsOf(node: NodeClient, signal: AbortSignal) {
  for await (const block of lines(stream(node, "/api/events", signal), "\n\n")) {
    const name = /^event: (.*)$/m.exec(block)?.[1] ?? "";
    const data = /^data: (.*)$/m.exec(block)?.[1];
    yield { name, data: data === undefined ? undefined : parse(data) };
  }
}

interface PieceJson extends Omit<LogPiece, "data"> {
  data?: string;
  data_base64?: string;
}

async function* readLog(
  node: NodeClient,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<LogPiece> {
  for await (const line of lines(stream(node, path, signal), "\n")) {
    const { attempt, stream, offset, data, data_base64: base64 } = parse(line) as PieceJson;
    yield { attempt, stream, offset, data: bytesOf(data, base64) };
  }
}

async function* readArtifact(
  node: NodeClient,
  path: string,
  start: number,
  signal: AbortSignal,
): AsyncGenerator<{ offset: number; data: Uint8Array }> {
  let offset = start;
  const headers: Record<string, string> = start === 0 ? {} : { range: `bytes=${start}-` };
  for await (const data of stream(node, path, signal, headers)) {
    yield { offset, data };
    offset += data.length;
  }
}

async function* stream(
  node: NodeClient,
  path: string,
  signal: AbortSignal,
  headers: Record<string, string> = {},
): AsyncGenerator<Uint8Array> {
  try {
    yield* await node.stream(path, signal, headers);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw taskError(error);
  }
}

/** No line of these streams is longer: a piece of a log has at most 1 MiB. */
const maxLineChars = 16 * 1024 * 1024;

async function* lines(source: AsyncIterable<Uint8Array>, end: string): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of source) {
    text += decoder.decode(chunk, { stream: true });
    const whole = text.split(end);
    text = whole.pop()!;
    if (text.length > maxLineChars) {
      throw new TaskError("internal", "The node sent an endless line");
    }
    yield* whole;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TaskError("unavailable", "The node's answer was cut off", undefined, {
      cause: error,
    });
  }
}

function bytesOf(text: string | undefined, base64: string | undefined): Uint8Array {
  return base64 === undefined
    ? new TextEncoder().encode(text ?? "")
    : Uint8Array.fromBase64(base64);
}

/** A segment of a path; `.` and `..` would be taken for steps. */
function part(text: string): string {
  return encodeURIComponent(text).replace(/^\.+$/, (dots) => "%2E".repeat(dots.length));
}

function queryOf(fields: Record<string, string | number | boolean | undefined>): string {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  if (given.length === 0) return "";
  return `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

function descriptionOf(spec: TaskSpec, options: SubmitOptions = {}): TaskDescription {
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

function taskOf(view: TaskView): Task {
  const { spec } = view;
  return {
    id: view.id,
    spec: {
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
    },
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

function workerOf(view: WorkerView): WorkerInfo {
  return {
    id: view.id,
    version: view.version,
    labels: view.labels,
    slots: view.slots,
    running: view.running,
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

interface StateJson {
  namespace: string;
  key: string;
  revision: number;
  updated_at: string;
  value?: string;
  value_base64?: string;
}

function stateOf(json: StateJson): StateEntry {
  const { namespace, key, revision, value, value_base64: base64 } = json;
  const updatedAt = Date.parse(json.updated_at);
  return { namespace, key, revision, updatedAt, value: bytesOf(value, base64) };
}

function timeOf(text: string | null): number | undefined {
  return text === null ? undefined : Date.parse(text);
}

/** The error of the coordinator as the node passed it on, or what went wrong on the way to the node. */
function taskError(error: unknown): unknown {
  if (!(error instanceof NodeRefusal)) return error;
  const { message, status, members, next } = error;
  const code = taskErrorCodes.find((code) => code === members.code) ?? codeOf(status);
  const revision = typeof members.revision === "number" ? members.revision : undefined;
  return new TaskError(code, message, revision, {
    cause: error,
    ...(next === undefined ? {} : { next }),
  });
}

function codeOf(status: number | undefined): TaskErrorCode {
  if (status === undefined || status >= 502) return "unavailable";
  if (status === 401) return "unauthenticated";
  if (status === 404) return "not_found";
  return status >= 500 ? "internal" : "invalid";
}
