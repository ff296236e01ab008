/** The tasks of a node's coordinators over its REST API, as the task service that commands use. */
import type { TaskView, WorkerView } from "../client/views.ts";
import {
  type LogPiece,
  type StateChange,
  type TaskChange,
  TaskError,
  type TaskService,
} from "../tasks/service.ts";
import { type Artifact, isFinished, type Task } from "../tasks/task.ts";
import {
  bytesOf,
  descriptionOf,
  type ListedTask,
  specOf,
  type StateJson,
  stateOf,
  taskOf,
  tasksFrom,
  workerOf,
} from "./from_views.ts";
import type { Unanswered } from "./api/context.ts";
import type { NodeClient } from "./node_client.ts";
import { lines, parse, stream } from "./node_streams.ts";
import { followTasks } from "./remote_follow.ts";
import { isUnknownRoute, taskError } from "./task_errors.ts";

/** Asks for an array's spec once, not with each element. */
const specs = "once";

/** More pages than this many tasks is nothing that a command shows. */
const unfinishedTasks = 1_000;

type Call = <T>(...args: Parameters<NodeClient["call"]>) => Promise<T>;

/** @param unanswered called for each coordinator that is missing in a list. */
export function remoteTasks(
  node: NodeClient,
  unanswered: (address: string, reason: string) => void,
): TaskService {
  const call: Call = async <T>(...args: Parameters<NodeClient["call"]>) => {
    try {
      return await node.call(...args) as T;
    } catch (error) {
      throw taskError(error);
    }
  };
  const lists: CallList = async <T>(path: string) => {
    const answer = await call<T & { unanswered?: Unanswered[] }>("GET", path);
    // Nodes before this one do not say.
    for (const { coordinator, reason } of answer.unanswered ?? []) unanswered(coordinator, reason);
    return answer;
  };
  return {
    ...tasksOver(node, call, lists),
    ...filesOver(node, call),
    ...workersAndState(call, lists),
    followTasks: (ids, positions, signal) => followTasks(node, ids, positions, signal),
    watchState: (namespace, prefix, signal) => watchState(node, namespace, prefix, signal),
  };
}

/** A list that several coordinators have a part of. */
type CallList = <T>(path: string) => Promise<T>;

function tasksOver(node: NodeClient, call: Call, lists: CallList) {
  const tasksOf = async (method: "GET" | "POST" | "DELETE", path: string) =>
    tasksFrom(await call<{ tasks: ListedTask[] }>(method, path + queryOf({ specs })));
  const list: TaskService["listTasks"] = async ({ states, limit, before, submitter }) => {
    const query = queryOf({ state: states?.join(","), limit, before, submitter, specs });
    const answer = await lists<{ tasks: ListedTask[]; more: boolean }>(`/api/tasks${query}`);
    return { tasks: tasksFrom(answer), more: answer.more };
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
    async getArtifacts(taskId, attempt, paths) {
      const path = `/api/tasks/${part(taskId)}/artifacts`;
      try {
        const { files } = await node.call("POST", path, { attempt, paths }) as { files: string[] };
        return files.map((text) => Uint8Array.fromBase64(text));
      } catch (error) {
        throw isUnknownRoute(error)
          ? new TaskError("unsupported", error.message)
          : taskError(error);
      }
    },
    readArtifact: ({ taskId, attempt, path, offset = 0 }, signal) => {
      const name = path.split("/").map(part).join("/");
      const url = `/api/tasks/${part(taskId)}/artifacts/${name}${queryOf({ attempt })}`;
      return readArtifact(node, url, offset, signal);
    },
  } satisfies Partial<TaskService>;
}

function workersAndState(call: Call, lists: CallList) {
  const worker = async (id: string, change: string) =>
    workerOf(await call<WorkerView>("POST", `/api/workers/${part(id)}/${change}`));
  const key = (namespace: string, name: string) => `/api/state/${part(namespace)}/${part(name)}`;
  return {
    listWorkers: async () =>
      (await lists<{ workers: WorkerView[] }>("/api/workers")).workers.map(workerOf),
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
  /** What was said of tasks that have not finished: after a reset most are as they were. */
  const told = new Map<string, string>();
  const seen = (task: Task): TaskChange[] => {
    const { id, state, attempts, reason, notBefore, cancelRequested } = task;
    if (ids.length > 0) open.set(id, !isFinished(state));
    const said = JSON.stringify([state, attempts, reason, notBefore, cancelRequested]);
    if (told.get(id) === said) return [];
    if (isFinished(state)) told.delete(id);
    else told.set(id, said);
    return [{ task }];
  };
  const isWanted = ({ id, arrayId }: Task) =>
    ids.length === 0 || ids.includes(id) || (arrayId !== undefined && ids.includes(arrayId));
  let isAsked = false;
  for await (const event of eventsOf(node, signal)) {
    // The stream is open before the first question, so that no change falls between the two.
    if (!isAsked || event.name === "reset") {
      isAsked = true;
      for (const task of await current()) yield* seen(task);
      if (over()) return;
    }
    if (event.name === "task_deleted") {
      const { id } = event.data as { id: string };
      told.delete(id);
      if (ids.length === 0) yield { deletedId: id };
    }
    if (event.name !== "task") continue;
    const view = event.data as TaskView;
    const task = taskOf(view, specOf(view.spec));
    if (!isWanted(task)) continue;
    yield* seen(task);
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

type StateLine = StateJson & { deleted?: boolean; complete?: boolean };

async function* watchState(
  node: NodeClient,
  namespace: string,
  prefix: string,
  signal: AbortSignal,
): AsyncGenerator<StateChange> {
  const query = queryOf({ watch: true, prefix: prefix || undefined });
  for await (
    const line of lines(stream(node, `/api/state/${part(namespace)}${query}`, signal), "\n")
  ) {
    const change = parse(line) as StateLine;
    if (change.complete) yield { complete: true };
    else yield change.deleted ? { deletedKey: change.key } : { entry: stateOf(change) };
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
  for await (const data of stream(node, path, signal, { headers })) {
    yield { offset, data };
    offset += data.length;
  }
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
