/** What all pages share: session, cluster, workers, the state of the stream. */
import { computed, effect, signal } from "@preact/signals";
import { call, isLoggedOut, type Problem, problemOf } from "../node_api.ts";
import type { NodesView, SessionView, TaskView, UnansweredView, WorkerView } from "../views.ts";
import { announce } from "../parts/announcer.tsx";
import { shareEvents, type StreamState } from "./event_stream.ts";
import { nodeChanges } from "./node_changes.ts";
import type { ServerEvent } from "./server_events.ts";
import { unanswered } from "./unanswered.ts";

export const session = signal<SessionView | undefined>(undefined);
export const cluster = signal<NodesView | undefined>(undefined);
export const clusterProblem = signal<Problem | undefined>(undefined);
export const workers = signal<WorkerView[] | undefined>(undefined);
export const workersProblem = signal<Problem | undefined>(undefined);
export const streamState = signal<StreamState>("connecting");

/** Whether the node was updated after this page was loaded. */
export const isOutdated = signal(false);

/** The name that the pages show: the cluster's, or that of a node which stands alone. */
export const clusterName = computed(() =>
  cluster.value?.cluster ?? session.value?.cluster ?? session.value?.name ?? "agent"
);

/** Changed tasks arrive in batches, so that a busy cluster redraws a few times a second. */
const batchMs = 150;
type TaskListener = (changed: TaskView[], deletedIds: string[]) => void;
const taskListeners = new Set<TaskListener>();
const resetListeners = new Set<() => void>();

let wakeStream = () => {};

/** Starts the stream and loads what every page shows. */
export function startNodeData(): void {
  wakeStream = shareEvents({ event: onEvent, state: onStreamState });
  loadShared();
}

/** Calls back with changed and deleted tasks, and when everything has to be loaded again. */
export function onTaskChanges(listener: TaskListener, reset: () => void): () => void {
  taskListeners.add(listener);
  resetListeners.add(reset);
  return () => {
    taskListeners.delete(listener);
    resetListeners.delete(reset);
  };
}

/** Events received so far: a response that an event overtook is outdated. */
const events = { cluster: 0, workers: 0 };

export async function loadCluster(): Promise<void> {
  const before = events.cluster;
  try {
    const view = await call<NodesView>("GET", "/api/cluster?links=false");
    if (events.cluster === before) showCluster(view);
  } catch (error) {
    clusterProblem.value = problemOf(error);
  }
}

export async function loadWorkers(): Promise<void> {
  const before = events.workers;
  try {
    const answer = await call<WorkersAnswer>("GET", "/api/workers");
    if (events.workers === before) showWorkers(answer);
  } catch (error) {
    workersProblem.value = problemOf(error);
  }
}

interface WorkersAnswer {
  workers: WorkerView[];
  unanswered: UnansweredView[];
}

function showWorkers(answer: WorkersAnswer): void {
  workers.value = answer.workers;
  unanswered.value = answer.unanswered;
  workersProblem.value = undefined;
}

/** @throws {Problem} where the token is not accepted. */
export async function logIn(token: string): Promise<void> {
  await call("POST", "/api/session", { body: { token } });
  isLoggedOut.value = false;
  wakeStream();
  reload();
}

export async function logOut(): Promise<void> {
  await call("DELETE", "/api/session");
  session.value = undefined;
  isLoggedOut.value = true;
}

export function retryStream(): void {
  wakeStream();
}

async function loadShared(): Promise<void> {
  await Promise.all([loadSession(), loadCluster()]);
}

async function loadSession(): Promise<void> {
  try {
    const view = await call<SessionView>("GET", "/api/session");
    isOutdated.value ||= session.value !== undefined && session.value.version !== view.version;
    session.value = view;
    isLoggedOut.value = false;
  } catch (error) {
    clusterProblem.value = problemOf(error);
  }
}

function reload(): void {
  loadShared();
  if (workers.value !== undefined || workersProblem.value !== undefined) loadWorkers();
  for (const listener of resetListeners) listener();
}

function onStreamState(state: StreamState): void {
  const wasLive = streamState.value === "live";
  streamState.value = state;
  if (state === "logged_out") isLoggedOut.value = true;
  // Another tab may have logged in, with the cookie that this one shares.
  if (state === "live" && !wasLive && isLoggedOut.value) reload();
}

function onEvent({ name, data }: ServerEvent): void {
  if (name === "reset") return reload();
  if (name === "cluster") {
    events.cluster++;
    showCluster(JSON.parse(data) as NodesView);
  } else if (name === "workers") {
    events.workers++;
    showWorkers(JSON.parse(data) as WorkersAnswer);
  } else if (name === "task") {
    const task = JSON.parse(data) as TaskView;
    queueTask(task.id, task);
  } else if (name === "task_deleted") {
    queueTask((JSON.parse(data) as { id: string }).id, undefined);
  }
}

function showCluster(view: NodesView): void {
  for (const change of nodeChanges(cluster.value, view)) announce(change);
  cluster.value = view;
  clusterProblem.value = undefined;
}

/** By id; undefined for a deleted one. */
const pending = new Map<string, TaskView | undefined>();

function queueTask(id: string, task: TaskView | undefined): void {
  if (taskListeners.size === 0) return;
  if (pending.size === 0) {
    setTimeout(() => {
      const changed = [...pending.values()].filter((each) => each !== undefined);
      const deletedIds = [...pending].flatMap(([id, each]) => each === undefined ? [id] : []);
      pending.clear();
      for (const listener of taskListeners) listener(changed, deletedIds);
    }, batchMs);
  }
  pending.set(id, task);
}

effect(() => {
  if (isLoggedOut.value) cluster.value = undefined;
});
