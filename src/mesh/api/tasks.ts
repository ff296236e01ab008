/** Tasks, workers and state, through the coordinators. */
import type { ServerResponse } from "node:http";
import {
  artifactView,
  stateView,
  taskView,
  taskViewsOnce,
  textOrBase64,
  workerView,
} from "../../client/views.ts";
import { requireMatch, submitToEach } from "../../client/submit_to_workers.ts";
import { readTaskDescription, taskSpec } from "../../client/task_spec.ts";
import { HttpProblem } from "../../http/problem.ts";
import { goneSignal, writePiece } from "../../http/stream.ts";
import { limits } from "../../tasks/limits.ts";
import type { LogPiece, StateChange, TaskService } from "../../tasks/service.ts";
import { type Task, type TaskState, taskStates } from "../../tasks/task.ts";
import {
  alreadySent,
  type ApiContext,
  attemptOf,
  flagOf,
  isAttempt,
  type Node,
  numberOf,
  readBytes,
  readJson,
  type Serve,
} from "./context.ts";
import { sendFollowed } from "./followed.ts";
import { beginLines, firstOrLater, send, sendList } from "./streamed.ts";

/** As many as a page shows, and as many as one answer may hold. */
const defaultTasks = 100;
const maxTasks = 1_000;

export function serveTasks(serve: Serve, node: Node): void {
  const service = () => requireTasks(node);
  const answer = (context: ApiContext, tasks: Task[], rest = {}) =>
    sendList(context, node, "tasks", tasks, viewOf(context), rest);
  const id = (context: ApiContext) => context.req.param("id")!;
  serve({
    "GET /api/tasks": async (context) => {
      const states = statesOf(context);
      const before = context.req.query("before");
      const submitter = context.req.query("submitter");
      const array = context.req.query("array");
      if (array) {
        const isWanted = wanted(states, submitter);
        const elements = (await service().getTask(array)).filter(isWanted);
        return answer(context, elements, { more: false, unanswered: [] });
      }
      const { tasks, more } = await service().listTasks({
        limit: numberOf(context, "limit", maxTasks) ?? defaultTasks,
        ...(states.length > 0 ? { states } : {}),
        ...(before ? { before } : {}),
        ...(submitter ? { submitter } : {}),
      });
      return answer(context, tasks, { more, unanswered: node.unanswered() });
    },
    "POST /api/tasks": async (context) => {
      const { each, required, description } = submission(await readJson(context));
      const { spec, options } = taskSpec(readTaskDescription(description));
      if (required) await requireMatch(service(), spec.selector);
      if (!each) {
        const { id, taskIds, existing } = await service().submit(spec, options);
        return context.json({ id, task_ids: taskIds, existing }, existing ? 200 : 201);
      }
      for (const other of ["array", "lines"] as const) {
        if (options[other] === undefined) continue;
        throw new HttpProblem(400, `"each" and "${other}" contradict each other`);
      }
      const made = await Array.fromAsync(submitToEach(service(), spec, options));
      const ids = made.map(({ id }) => id);
      return context.json({ id: ids[0], task_ids: ids, existing: false }, 201);
    },
    "GET /api/tasks/:id": async (context) => answer(context, await service().getTask(id(context))),
    "POST /api/tasks/:id/cancel": async (context) =>
      answer(context, await service().cancelTask(id(context))),
    "POST /api/tasks/:id/retry": async (context) =>
      answer(context, await service().retryTask(id(context))),
    "DELETE /api/tasks/:id": async (context) =>
      answer(context, await service().deleteTask(id(context))),
    "POST /api/tasks/prune": async (context) =>
      context.json(
        await service().pruneTasks({
          olderThanMs: requiredNumber(context, "older_than_ms"),
          states: statesOf(context),
          dryRun: flagOf(context, "dry_run"),
        }),
      ),
    "GET /api/workers": async (context) => {
      const workers = await service().listWorkers();
      const rest = { unanswered: node.unanswered() };
      return sendList(context, node, "workers", workers, workerView, rest);
    },
    "POST /api/workers/:id/drain": async (context) =>
      context.json(workerView(await service().drainWorker(id(context)))),
    "POST /api/workers/:id/resume": async (context) =>
      context.json(workerView(await service().resumeWorker(id(context)))),
    "POST /api/workers/:id/forget": async (context) =>
      context.json(workerView(await service().forgetWorker(id(context)))),
  });
}

/** What tasks write and leave. */
export function serveOutput(serve: Serve, node: Node): void {
  const service = () => requireTasks(node);
  const id = (context: ApiContext) => context.req.param("id")!;
  serve({
    "POST /api/tasks/follow": (context) => sendFollowed(context, service(), node),
    "GET /api/tasks/:id/logs": (context) => sendLogs(context, service(), node),
    "GET /api/tasks/:id/artifacts": async (context) => {
      const artifacts = await service().listArtifacts(id(context), attemptOf(context));
      return sendList(context, node, "artifacts", artifacts, artifactView);
    },
    "POST /api/tasks/:id/artifacts": async (context) => {
      const { attempt, paths } = readBatch(await readJson(context));
      const files = await service().getArtifacts?.(id(context), attempt, paths);
      if (files === undefined) throw new HttpProblem(501, "Ask for each artifact by itself");
      return sendList(context, node, "files", files, (data) => data.toBase64());
    },
    "GET /api/tasks/:id/artifacts/*": (context) => sendArtifact(context, service(), node),
  });
}

export function serveState(serve: Serve, node: Node): void {
  const names = (context: ApiContext) =>
    [context.req.param("ns")!, context.req.param("key")!] as const;
  serve({
    "GET /api/state/:ns": async (context) => {
      if (flagOf(context, "watch")) return await sendChanges(context, node);
      const entries = await requireTasks(node).listState(
        context.req.param("ns")!,
        context.req.query("prefix") ?? "",
      );
      return sendList(context, node, "entries", entries, stateView);
    },
    "GET /api/state/:ns/:key": async (context) =>
      context.json(stateView(await requireTasks(node).getState(...names(context)))),
    "PUT /api/state/:ns/:key": async (context) => {
      const value = await readBytes(context);
      const revision = numberOf(context, "if_revision");
      return context.json(
        stateView(await requireTasks(node).putState(...names(context), value, revision)),
      );
    },
    "DELETE /api/state/:ns/:key": async (context) => {
      const revision = numberOf(context, "if_revision");
      return context.json(await requireTasks(node).deleteState(...names(context), revision));
    },
  });
}

/** With `specs=once` a task whose spec is that of the task before it has null in its place. */
function viewOf(context: ApiContext): (task: Task) => unknown {
  const specs = context.req.query("specs") ?? "each";
  if (specs === "each") return taskView;
  if (specs !== "once") throw new HttpProblem(400, `"specs" is "each" or "once", not "${specs}"`);
  return taskViewsOnce();
}

/** What `listTasks` finds, for tasks that are here already. */
function wanted(states: TaskState[], submitter: string | undefined): (task: Task) => boolean {
  return (task) =>
    (states.length === 0 || states.includes(task.state)) &&
    (!submitter || [task.submitter?.name, task.submitter?.fingerprint].includes(submitter));
}

/** One line for each change, as `agent state watch --json` has it, until the reader goes. */
async function sendChanges(context: ApiContext, node: Node): Promise<Response> {
  const { outgoing } = context.env as { outgoing: ServerResponse };
  const namespace = context.req.param("ns")!;
  const prefix = context.req.query("prefix") ?? "";
  const changes = requireTasks(node).watchState(namespace, prefix, goneSignal(outgoing))
    [Symbol.asyncIterator]();
  // An error is an answer of its own.
  const first = await changes.next();
  beginLines(outgoing);
  void send(outgoing, node, async () => {
    for (let next = first; !next.done; next = await changes.next()) {
      const line = JSON.stringify(changeView(namespace, next.value));
      if (!await writePiece(outgoing, `${line}\n`)) break;
    }
  });
  return alreadySent();
}

function changeView(namespace: string, change: StateChange): object {
  if ("entry" in change) return stateView(change.entry);
  if ("complete" in change) return { namespace, complete: true };
  return { namespace, key: change.deletedKey, deleted: true };
}

function statesOf(context: ApiContext): TaskState[] {
  const states = (context.req.query("state") ?? "").split(",").filter((each) => each !== "");
  const unknown = states.find((state) => !taskStates.some((known) => known === state));
  if (unknown === undefined) return states as TaskState[];
  throw new HttpProblem(400, `"${unknown}" is not a state of tasks`, {
    next: `States are ${taskStates.join(", ")}`,
  });
}

function requiredNumber(context: ApiContext, name: string): number {
  const value = numberOf(context, name);
  if (value === undefined) throw new HttpProblem(400, `The parameter "${name}" is missing`);
  return value;
}

/**
 * The description of a task, and where it is submitted to. `command` is a line for the shell, as a
 * form has it.
 */
function submission(json: unknown): { each: boolean; required: boolean; description: unknown } {
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    return { each: false, required: false, description: json };
  }
  const { each, require_match: required, command, ...others } = json as Record<string, unknown>;
  for (const [name, value] of Object.entries({ each, require_match: required })) {
    if (value === undefined || value === null || typeof value === "boolean") continue;
    throw new HttpProblem(400, `"${name}" must be true or false`);
  }
  const to = { each: each === true, required: required === true };
  if (command === undefined) return { ...to, description: others };
  if (typeof command !== "string" || "argv" in others) {
    throw new HttpProblem(400, '"command" must be a line for the shell, and not beside "argv"');
  }
  return { ...to, description: { ...others, argv: [command], shell: true } };
}

function requireTasks({ tasks }: Node): TaskService {
  if (tasks !== undefined) return tasks;
  throw new HttpProblem(503, "This node serves no tasks: it knows no coordinator", {
    next: "set node.coordinators, such as agent node --node.coordinators=build1.lan:50055",
  });
}

/** Logs as lines of JSON, as they come; with `follow` until the task has ended. */
async function sendLogs(context: ApiContext, tasks: TaskService, node: Node): Promise<Response> {
  const taskId = context.req.param("id")!;
  const attempt = attemptOf(context);
  const tail = numberOf(context, "tail_bytes");
  const follow = flagOf(context, "follow");
  const offsets = tail === undefined
    ? {
      stdoutOffset: numberOf(context, "stdout_offset") ?? 0,
      stderrOffset: numberOf(context, "stderr_offset") ?? 0,
    }
    : await tailOffsets(tasks, taskId, attempt, tail);
  const query = { taskId, follow, ...offsets, ...(attempt === undefined ? {} : { attempt }) };
  const { outgoing } = context.env as { outgoing: ServerResponse };
  const pieces = tasks.readLog(query, goneSignal(outgoing))[Symbol.asyncIterator]();
  const first = pieces.next();
  await (follow ? firstOrLater(first, node) : first);
  beginLines(outgoing);
  outgoing.flushHeaders();
  void send(outgoing, node, async () => {
    for (let next = await first; !next.done; next = await pieces.next()) {
      if (!await writePiece(outgoing, JSON.stringify(pieceView(next.value)) + "\n")) break;
    }
    await pieces.return?.();
  });
  return alreadySent();
}

function pieceView({ attempt, stream, offset, data }: LogPiece) {
  return { attempt, stream, offset, ...textOrBase64(data, "data") };
}

/** Offsets from which about `tail` bytes of each stream are left. */
async function tailOffsets(
  tasks: TaskService,
  taskId: string,
  number: number | undefined,
  tail: number,
) {
  const [task] = await tasks.getTask(taskId);
  const attempt = number === undefined
    ? task?.attempts.at(-1)
    : task?.attempts.find((each) => each.attempt === number);
  return {
    stdoutOffset: Math.max(0, (attempt?.stdoutBytes ?? 0) - tail),
    stderrOffset: Math.max(0, (attempt?.stderrBytes ?? 0) - tail),
  };
}

/** One artifact as a download, whole or one range of it (RFC 9110, section 14). */
async function sendArtifact(
  context: ApiContext,
  tasks: TaskService,
  node: Node,
): Promise<Response> {
  const taskId = context.req.param("id")!;
  const start = `/api/tasks/${encodeURIComponent(taskId)}/artifacts/`;
  const path = decodedPath(context.req.path.slice(start.length));
  const attempt = attemptOf(context);
  const found = await tasks.listArtifacts(taskId, attempt, path);
  const artifact = found.findLast((each) => each.path === path);
  if (artifact === undefined) {
    throw new HttpProblem(404, `Task "${taskId}" has no artifact "${path}"`);
  }
  const etag = `"${artifact.sha256}"`;
  const range = rangeOf(
    context.req.header("range"),
    context.req.header("if-range"),
    etag,
    artifact.size,
  );
  const { outgoing } = context.env as { outgoing: ServerResponse };
  const name = encodeURIComponent(path.split("/").at(-1)!);
  outgoing.writeHead(range.partial ? 206 : 200, {
    "content-type": "application/octet-stream",
    "content-disposition": `attachment; filename*=UTF-8''${name}`,
    "content-length": range.end - range.start,
    "accept-ranges": "bytes",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    etag,
    ...(range.partial
      ? { "content-range": `bytes ${range.start}-${range.end - 1}/${artifact.size}` }
      : {}),
  });
  const query = { taskId, attempt: artifact.attempt, path, offset: range.start };
  void send(outgoing, node, async () => {
    let at = range.start;
    for await (const { data } of tasks.readArtifact(query, goneSignal(outgoing))) {
      const piece = data.subarray(0, Math.max(0, range.end - at));
      at += piece.length;
      if (!await writePiece(outgoing, piece) || at >= range.end) break;
    }
    if (at < range.end) throw new Error("The artifact ended too early");
  });
  return alreadySent();
}

/** @throws {HttpProblem} where the body is something else. */
function readBatch(json: unknown): { attempt: number; paths: string[] } {
  const { attempt, paths } = (json ?? {}) as Record<string, unknown>;
  const isList = Array.isArray(paths) && paths.length <= limits.maxSmallFiles &&
    paths.every((path) => typeof path === "string");
  if (isList && isAttempt(attempt)) {
    return { attempt, paths };
  }
  throw new HttpProblem(
    400,
    `The body needs "attempt", a number, and "paths", up to ${limits.maxSmallFiles} texts`,
  );
}

/** @throws {HttpProblem} where it is not percent-encoded UTF-8. */
function decodedPath(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw new HttpProblem(400, `"${text}" is not percent-encoded UTF-8`, { cause: error });
  }
}

interface Range {
  start: number;
  /** Behind the last byte. */
  end: number;
  partial: boolean;
}

/** One range is served; several, or one that is malformed, count as none (RFC 9110, 14.2). */
export function rangeOf(
  header: string | undefined,
  ifRange: string | undefined,
  etag: string,
  size: number,
): Range {
  const whole = { start: 0, end: size, partial: false };
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (match === null || (ifRange !== undefined && ifRange !== etag)) return whole;
  const [, from, to] = match as unknown as [string, string, string];
  if (from === "" && to === "") return whole;
  const start = from === "" ? Math.max(0, size - Number(to)) : Number(from);
  const end = from === "" || to === "" ? size : Math.min(size, Number(to) + 1);
  if (start >= end) {
    throw new HttpProblem(416, `The artifact has ${size} bytes`, {
      headers: { "content-range": `bytes */${size}` },
    });
  }
  return { start, end, partial: true };
}
