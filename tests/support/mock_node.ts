/**
 * A node that serves the real UI and invented answers, so that every state of the pages can be had
 * at once. Alone: `deno run -A tests/support/mock_node.ts [PORT]`, token "secret".
 */
import { assets } from "../../src/web/assets.ts";
import type {
  ClusterView,
  LogPieceView,
  ReachView,
  TaskView,
  UnansweredView,
  WorkerView,
} from "../../src/web/views.ts";
import {
  artifactViews,
  clusterView,
  taskId,
  taskView,
  taskViews,
  workerViews,
} from "./mock_data.ts";

export const contentSecurityPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
  "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const json = { "content-type": "application/json" };
const lineBytes = 80;

export interface MockNode extends AsyncDisposable {
  /** Change these; then `cluster()`, `task()` or `workers()` sends them to the pages. */
  data: {
    cluster: ClusterView;
    tasks: TaskView[];
    workers: WorkerView[];
    unanswered: UnansweredView[];
    /** Answers of tasks and workers are 503. */
    hasCoordinator: boolean;
    needsToken: boolean;
    version: string;
  };
  /** Event streams: open now, and opened so far. */
  streams(): { open: number; opened: number };
  /** Logs that are followed. */
  followers(): number;
  /** Path and method of every call of the API. */
  calls: string[];
  send(event: "cluster" | "task" | "task_deleted" | "workers" | "reset", body: unknown): void;
  /** Adds to the log of running tasks. */
  write(text: string, stream?: "stdout" | "stderr"): void;
  /** Ends all event streams, and refuses new ones while `isDown`. */
  cutStreams(isDown: boolean): void;
}

class State {
  readonly data: MockNode["data"];
  readonly sinks = new Set<ReadableStreamDefaultController<Uint8Array>>();
  readonly followers = new Set<(piece: LogPieceView) => void>();
  readonly written: LogPieceView[] = [];
  readonly calls: string[] = [];
  readonly sizes = { stdout: 0, stderr: 0 };
  isDown = false;
  opened = 0;
  nextId = 1;

  constructor(tasks: number) {
    this.data = {
      cluster: clusterView(),
      tasks: taskViews(tasks),
      workers: workerViews(),
      unanswered: [],
      hasCoordinator: true,
      needsToken: false,
      version: "0.1.0",
    };
  }

  send(event: string, body: unknown): void {
    const text = `id: ${this.nextId++}\nevent: ${event}\ndata: ${JSON.stringify(body)}\n\n`;
    for (const sink of this.sinks) sink.enqueue(new TextEncoder().encode(text));
  }

  write(data: string, stream: "stdout" | "stderr"): void {
    const piece = { attempt: 1, stream, offset: this.sizes[stream], data };
    this.sizes[stream] += new TextEncoder().encode(data).length;
    this.written.push(piece);
    for (const follower of this.followers) follower(piece);
  }
}

/**
 * @param tasks how many there are.
 * @param listen a port of this host, or the path of a socket file.
 */
export function startMockNode(
  { tasks = 10_000, listen }: { tasks?: number; listen: { port: number } | { path: string } },
): MockNode {
  const state = new State(tasks);
  const handler = (request: Request) => answer(state, request);
  const server = "path" in listen
    ? Deno.serve({ ...listen, onListen: () => {} }, handler)
    : Deno.serve({ ...listen, hostname: "127.0.0.1", onListen: () => {} }, handler);
  return {
    data: state.data,
    calls: state.calls,
    streams: () => ({ open: state.sinks.size, opened: state.opened }),
    followers: () => state.followers.size,
    send: (event, body) => state.send(event, body),
    write: (text, stream = "stdout") => state.write(text, stream),
    cutStreams(isDown) {
      state.isDown = isDown;
      for (const sink of state.sinks) sink.close();
      state.sinks.clear();
    },
    async [Symbol.asyncDispose]() {
      for (const sink of state.sinks) sink.close();
      await server.shutdown();
    },
  };
}

async function answer(state: State, request: Request): Promise<Response> {
  const url = new URL(request.url);
  const asset = assets[url.pathname];
  if (asset !== undefined) {
    return new Response(asset.gzip, {
      headers: {
        "content-type": asset.type,
        "content-encoding": "gzip",
        "content-security-policy": contentSecurityPolicy,
      },
    });
  }
  state.calls.push(`${request.method} ${url.pathname}`);
  const [, , ...path] = url.pathname.split("/").map(decodeURIComponent);
  if (url.pathname === "/api/session" && request.method === "POST") {
    return await signIn(state, request);
  }
  if (state.data.needsToken) return problem(401, "This needs the token of the node");
  if (path[0] === "session") return session(state, request);
  if (path[0] === "cluster") return await cluster(state, request, path.slice(1));
  if (path[0] === "events") return events(state);
  if (!state.data.hasCoordinator) {
    return problem(
      503,
      "This node knows no coordinator",
      "agent config set node.coordinators 127.0.0.1:50055",
    );
  }
  if (path[0] === "tasks") return await tasks(state, request, path.slice(1), url.searchParams);
  if (path[0] === "workers") return workers(state, path.slice(1));
  return problem(404, "There is nothing here");
}

async function signIn(state: State, request: Request): Promise<Response> {
  const { token } = await request.json() as { token: string };
  if (token !== "secret") {
    return problem(401, "The token is not the one of this node", "agent token url");
  }
  state.data.needsToken = false;
  return new Response(null, { status: 204, headers: { "set-cookie": "mock=1; HttpOnly" } });
}

function session(state: State, request: Request): Response {
  if (request.method === "DELETE") {
    state.data.needsToken = true;
    return new Response(null, { status: 204 });
  }
  const self = state.data.cluster.nodes.find(({ self }) => self)!;
  return Response.json({
    node_id: self.id,
    name: self.name,
    cluster: state.data.cluster.cluster,
    version: state.data.version,
    tls: false,
    no_auth: false,
    coordinators: state.data.hasCoordinator ? ["127.0.0.1:50055"] : [],
  });
}

function reachOf({ links }: ClusterView, id: string): ReachView {
  const from = links.filter((link) => link.from === id);
  const to = links.filter((link) => link.to === id);
  const up = (some: typeof links) => some.filter(({ reachable }) => reachable);
  return {
    id,
    reaches: up(from).length,
    reaches_of: from.length,
    reached_by: up(to).length,
    reached_by_of: to.length,
    latency_ms: up(from)[0]?.latency_ms ?? null,
  };
}

async function cluster(state: State, request: Request, path: string[]): Promise<Response> {
  const { cluster } = state.data;
  if (path[0] === "peer_session") {
    const { node_id } = await request.json() as { node_id: string };
    return Response.json({ url: `${request.headers.get("origin")}/?token=once-${node_id}` });
  }
  if (path[0] === "nodes" && request.method === "DELETE") {
    cluster.nodes = cluster.nodes.filter(({ id }) => id !== path[1]);
    return new Response(null, { status: 204 });
  }
  if (new URL(request.url).searchParams.get("links") === "false") {
    return Response.json({ ...cluster, links: undefined });
  }
  if (new URL(request.url).searchParams.get("links") === "failing") {
    const reach = cluster.nodes.map(({ id }) => reachOf(cluster, id));
    const links = cluster.links.filter(({ reachable }) => !reachable);
    return Response.json({ ...cluster, reach, links });
  }
  return Response.json(cluster);
}

function events(state: State): Response {
  if (state.isDown) return problem(503, "The node stops");
  let mine: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      mine = controller;
      state.sinks.add(controller);
      state.opened++;
      controller.enqueue(new TextEncoder().encode(": hello\n\n"));
    },
    cancel: () => void state.sinks.delete(mine),
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

async function tasks(
  state: State,
  request: Request,
  [id, part, ...rest]: string[],
  query: URLSearchParams,
): Promise<Response> {
  if (id === undefined || id === "") {
    return request.method === "POST" ? await submit(state, request) : list(state, query);
  }
  const found = state.data.tasks.filter((each) => each.id === id || each.array_id === id);
  const [task] = found;
  if (task === undefined) return problem(404, `There is no task "${id}"`, "agent task list");
  if (part === "logs") return logs(state, task, query);
  if (part === "artifacts") {
    if (rest.length === 0) return Response.json({ artifacts: artifactViews() });
    return new Response("bytes", { headers: { "content-disposition": "attachment" } });
  }
  if (part === "cancel" || part === "retry") {
    const isCancel = part === "cancel";
    const open = ["queued", "running"];
    const changed = found
      .filter((each) => open.includes(each.state) === isCancel && each.state !== "succeeded")
      .map((each) => ({ ...each, state: isCancel ? "cancelled" : "queued" }) as TaskView);
    for (const each of changed) replace(state, each);
    return Response.json({ tasks: changed });
  }
  if (request.method === "DELETE") {
    state.data.tasks = state.data.tasks.filter((each) => !found.includes(each));
    for (const { id } of found) state.send("task_deleted", { id });
  }
  return Response.json({ tasks: found });
}

function list(state: State, query: URLSearchParams): Response {
  const states = query.get("state")?.split(",");
  const before = query.get("before");
  const limit = Number(query.get("limit") ?? 100);
  const found = state.data.tasks.filter((task) =>
    (states === undefined || states.includes(task.state)) &&
    (before === null || task.id < before) &&
    (query.get("array") === null || task.array_id === query.get("array"))
  );
  const { unanswered } = state.data;
  return Response.json({ tasks: found.slice(0, limit), more: found.length > limit, unanswered });
}

async function submit(state: State, request: Request): Promise<Response> {
  const body = await request.json() as { argv: string[]; shell?: boolean };
  if (body.argv[0] === "refuse") {
    return problem(400, 'The program "refuse" is not allowed', "Name another program");
  }
  const argv = body.shell ? ["/bin/sh", "-c", ...body.argv] : body.argv;
  const task = taskView(taskId(state.data.tasks.length + 1), "running", { argv });
  state.data.tasks.unshift(task);
  state.send("task", task);
  const made = { id: task.id, task_ids: [task.id], existing: false };
  return Response.json(made, { status: 201 });
}

function replace(state: State, task: TaskView): void {
  const at = state.data.tasks.findIndex(({ id }) => id === task.id);
  state.data.tasks[at] = task;
  state.send("task", task);
}

/** A running task writes what the test writes; the log of a finished one is as long as it says. */
function logs(
  state: State,
  task: TaskView,
  query: URLSearchParams,
): Response {
  const line = (piece: LogPieceView) => new TextEncoder().encode(`${JSON.stringify(piece)}\n`);
  const follows = query.get("follow") === "true";
  if (task.state !== "running") {
    const lines = ReadableStream.from(finishedLog(task, query)).pipeThrough(
      new TransformStream({ transform: (piece, controller) => controller.enqueue(line(piece)) }),
    );
    return new Response(lines, { headers: { "content-type": "application/x-ndjson" } });
  }
  let follower: (piece: LogPieceView) => void;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      const from = (stream: string) => Number(query.get(`${stream}_offset`) ?? 0);
      for (const piece of state.written) {
        if (piece.offset >= from(piece.stream)) controller.enqueue(line(piece));
      }
      if (!follows) return controller.close();
      follower = (piece) => controller.enqueue(line(piece));
      state.followers.add(follower);
    },
    cancel: () => void state.followers.delete(follower),
  });
  return new Response(body, { headers: { "content-type": "application/x-ndjson" } });
}

function* finishedLog(task: TaskView, query: URLSearchParams): Generator<LogPieceView> {
  const size = task.attempts.at(-1)!.stdout_bytes;
  const tail = Number(query.get("tail_bytes") ?? size);
  const begin = Number(query.get("stdout_offset") ?? Math.max(0, size - tail));
  const stepBytes = 64 * 1024;
  for (let offset = begin; offset < size; offset += stepBytes) {
    const data = numberedLines(offset, Math.min(size, offset + stepBytes));
    yield { attempt: 1, stream: "stdout", offset, data };
  }
  if (query.get("stderr_offset") !== null && query.get("stderr_offset") !== "0") return;
  const error = "Traceback (most recent call last):\n" +
    '  File "train.py", line 214, in <module>\n    main()\n' +
    "\x1b[31;1mRuntimeError\x1b[0m: CUDA out of memory. Tried to allocate 2.50 GiB\n";
  if (task.state === "failed") yield { attempt: 1, stream: "stderr", offset: 0, data: error };
}

/** Bytes of a log whose every line has its number, some with colours. */
function numberedLines(from: number, to: number): string {
  let text = "";
  const first = Math.floor(from / lineBytes);
  for (let number = first; number * lineBytes < to; number++) {
    const mark = number % 7 === 0
      ? "\x1b[32mok\x1b[0m  "
      : number % 11 === 0
      ? "\x1b[33mslow\x1b[0m"
      : "step";
    text += `[${String(number).padStart(8, "0")}] ${mark} loss ${(1 / (number + 1)).toFixed(6)}`
      .padEnd(lineBytes - 1, " ") + "\n";
  }
  return text.slice(from - first * lineBytes, to - first * lineBytes);
}

function workersAnswer({ data }: State) {
  return { workers: data.workers, unanswered: data.unanswered };
}

function workers(state: State, [id, action]: string[]): Response {
  if (id === undefined) return Response.json(workersAnswer(state));
  const worker = state.data.workers.find((each) => each.id === id);
  if (worker === undefined) return problem(404, `There is no worker "${id}"`);
  if (action === "forget") {
    state.data.workers = state.data.workers.filter((each) => each !== worker);
  } else worker.draining = action === "drain";
  state.send("workers", workersAnswer(state));
  return Response.json(worker);
}

function problem(status: number, detail: string, next?: string): Response {
  const headers = { ...json, "content-type": "application/problem+json" };
  return Response.json({ type: "about:blank", title: detail, status, detail, next }, {
    status,
    headers,
  });
}

if (import.meta.main) {
  const node = startMockNode({ listen: { port: Number(Deno.args[0] ?? 8765) } });
  let count = 0;
  setInterval(() => node.write(`epoch ${++count} \x1b[36mloss\x1b[0m ${Math.random()}\n`), 700);
  await new Promise(() => node);
}
