import type { Clock } from "../base/clock.ts";
import type { HistogramReading } from "../base/histogram.ts";
import type { Log } from "../base/log.ts";
import { TimeSlices } from "../base/time_slices.ts";
import { Artifacts } from "./artifacts.ts";
import { type CallContext, throwIfStopping } from "./call_context.ts";
import { ChangeFeed } from "./change_feed.ts";
import { type DataDisk, DiskSpace } from "./disk_space.ts";
import type { ArtifactFiles, LogFiles } from "./file_stores.ts";
import { GroupCommit } from "./group_commit.ts";
import { LeaseTable, monotonicOf } from "./lease_table.ts";
import { followTasks } from "./follow_tasks.ts";
import { Logs } from "./logs.ts";
import { Removal } from "./removal.ts";
import { deleteTask, pruneTasks } from "./task_deletion.ts";
import { Retention } from "./retention.ts";
import * as state from "./state_calls.ts";
import type { Recovered, TaskStore } from "./store.ts";
import { submit } from "./submit.ts";
import { StateFeed } from "./state_feed.ts";
import { cancelTask, retryTask } from "./task_changes.ts";
import { getTask, listTasks, watchChanges, watchTasks } from "./task_reads.ts";
import { WorkerRegistry } from "./worker_registry.ts";
import { idMaker } from "../tasks/ids.ts";
import { leaseTimes, limits } from "../tasks/limits.ts";
import { TaskError, type TaskServer, type WorkerServer } from "../tasks/service.ts";
import type { TaskState, WorkerHealth, WorkerInfo } from "../tasks/task.ts";

export interface EngineOptions {
  /** Closed with the engine. */
  store: TaskStore;
  logs: LogFiles;
  artifacts: ArtifactFiles;
  disk: DataDisk;
  clock: Clock;
  log: Log;
  random?: () => number;
  /** Shortest time between two commits; tests set it to 0. */
  commitEveryMs?: number;
  /** A pause of this length between two calls of `advance` means that this process was stopped. */
  stoppedFromMs?: number;
  /** Bytes kept of one attempt's output. */
  logLimitBytes?: number;
  /** How long a worker may be out of touch before its attempts count as lost. */
  leaseMs?: number;
  /** Age at which finished tasks are removed; undefined: only for lack of space. */
  keepMs?: number;
}

/** Figures for metrics; all but those that describe the present only grow. */
export interface EngineStats {
  tasks: Record<TaskState, number>;
  queued: number;
  running: number;
  workers: Record<WorkerHealth, number>;
  sessions: number;
  connects: number;
  commits: number;
  commitFailures: number;
  changes: number;
  commitSeconds: number;
  slowestCommitSeconds: number;
  logBytes: number;
  superseded: number;
  lostAttempts: number;
  leaseExpiries: number;
  /** Bytes of logs and artifacts, and of the database, that are stored. */
  storedBytes: { output: number; database: number };
  durations: Record<"commit" | "wait" | "start" | "run", HistogramReading>;
  removedTasks: number;
  removedBytes: number;
}

export interface Engine extends TaskServer, WorkerServer, AsyncDisposable {
  /** Does what is due: leases that expire, retries, the disk. To be called every 100 ms or so. */
  advance(): void;
  /** No task waits or runs: there is less that depends on time. */
  isIdle(): boolean;
  stats(): EngineStats;
  /** Why nothing can be accepted at the moment, or undefined. */
  trouble(): string | undefined;
}

interface Parts extends CallContext {
  commits: GroupCommit;
  logs: Logs;
  artifacts: Artifacts;
  space: DiskSpace;
  retention: Retention;
  stop: AbortController;
}

/**
 * The coordinator without a wire. Continues from what the store holds; its end is an orderly stop, in
 * which workers are promised that their leases are kept.
 */
export function openEngine(options: EngineOptions): Engine {
  const parts = openParts(options);
  let closed: Promise<void> | undefined;
  return {
    ...clientCalls(parts),
    ...workerCalls(parts),
    advance: advancing(parts, options),
    isIdle: () => parts.leaseTable.queue.size + parts.leaseTable.leases.size === 0,
    trouble: () => parts.commits.failing?.message ?? parts.space.trouble,
    stats: () => statsOf(parts),
    [Symbol.asyncDispose]: () => closed ??= close(parts),
  };
}

function openParts(options: EngineOptions): Parts {
  const { store, clock, log } = options;
  const recovered = store.recover();
  const changes = new ChangeFeed();
  const logChanges = new ChangeFeed();
  const stop = new AbortController();
  const stopping = stop.signal;
  const slices = new TimeSlices();
  const space = new DiskSpace(options.disk, clock.monotonic);
  const commits = new GroupCommit({
    store,
    clock,
    log,
    ...(options.commitEveryMs === undefined ? {} : { everyMs: options.commitEveryMs }),
    prepare: () => leaseTable.assign(registry.assignees()),
    makeRoom: () => space.isFreed(),
    committed: (tasks) => {
      registry.deliver();
      changes.tell(tasks);
      logChanges.tell(tasks);
    },
  });
  const leaseTable: LeaseTable = new LeaseTable(store, commits, clock, recovered);
  const registry: WorkerRegistry = new WorkerRegistry(
    leaseTable,
    log,
    recovered,
    options.leaseMs ?? leaseTimes.leaseMs,
    Math.min(options.logLimitBytes ?? Infinity, limits.maxInlineBytes),
  );
  for (const task of recovered.queued) {
    leaseTable.queue.add({ ...task, notBefore: monotonicOf(task.notBefore, clock) });
  }
  const leaseFor = registry.leaseFor.bind(registry);
  const limitBytes = options.logLimitBytes ?? limits.logBytes;
  const logs = new Logs({
    ...{ leaseTable, leaseFor, files: options.logs, changes: logChanges },
    ...{ stopping, space, limitBytes, clock },
  });
  const artifacts = new Artifacts({
    ...{ leaseTable, leaseFor, files: options.artifacts, space, slices, stopping },
  });
  const removal = new Removal({
    ...{ leaseTable, stopping, logs: options.logs, artifacts: options.artifacts },
  });
  const keepMs = options.keepMs ?? Infinity;
  const retention = new Retention({ store, removal, space, clock, log, keepMs, stopping });
  const newId = newIds(options, recovered);
  const checkRoom = () => space.check();
  return {
    ...{ leaseTable, registry, removal, retention, changes, slices, newId, stopping, checkRoom },
    stateFeed: new StateFeed(),
    ...{ commits, logs, artifacts, space, stop },
  };
}

function newIds({ clock, random }: EngineOptions, { newestId }: Recovered): () => string {
  return idMaker({
    now: clock.now,
    newest: newestId,
    ...(random === undefined ? {} : { random }),
  });
}

function clientCalls(parts: Parts): TaskServer {
  const { registry, logs, artifacts } = parts;
  /** The store is closed when the coordinator has stopped: no call may reach it then. */
  const call =
    <A extends unknown[], R>(answer: (...args: A) => R) =>
    async (...args: A): Promise<Awaited<R>> => {
      throwIfStopping(parts);
      return await answer(...args);
    };
  return {
    submit: call((spec, more) => submit(parts, spec, more)),
    getTask: (id) => getTask(parts, id),
    listTasks: call((query) => listTasks(parts, query)),
    watchTasks: (ids, signal) => watchTasks(parts, ids, signal),
    watchChanges: (...args) => watchChanges(parts, ...args),
    cancelTask: (id) => cancelTask(parts, id),
    retryTask: (id) => retryTask(parts, id),
    deleteTask: (id) => deleteTask(parts, id),
    pruneTasks: (query) => pruneTasks(parts, query),
    readLog: (query, signal) => logs.read(query, signal),
    followTasks: (ids, positions, signal) => followTasks(parts, ids, positions, signal),
    listArtifacts: (taskId, attempt, path) => artifacts.list(taskId, attempt, path),
    readArtifact: (query, signal) => artifacts.read(query, signal),
    getArtifacts: (id, attempt, paths) => artifacts.get(id, attempt, paths),
    listWorkers: () => listWorkers(parts),
    drainWorker: call((id) => registry.setDraining(id, true)),
    resumeWorker: call((id) => registry.setDraining(id, false)),
    forgetWorker: call((id) => registry.forget(id)),
    getState: call((namespace, key) => state.getState(parts, namespace, key)),
    putState: call((...args) => state.putState(parts, ...args)),
    deleteState: call((...args) => state.deleteState(parts, ...args)),
    listState: (namespace, prefix) => state.listState(parts, namespace, prefix),
    watchState: (...args) => state.watchState(parts, ...args),
  };
}

async function* listWorkers(parts: Parts): AsyncGenerator<WorkerInfo> {
  throwIfStopping(parts);
  for (const id of parts.registry.ids()) {
    const worker = parts.registry.info(id);
    if (worker !== undefined) yield worker;
    await parts.slices.pace();
  }
}

function workerCalls(parts: Parts): WorkerServer {
  const { registry, logs, artifacts } = parts;
  return {
    async connect(hello, sink) {
      // A Hello of 10,000 attempts has held the event loop for long enough when it is decoded.
      await parts.slices.pace();
      throwIfStopping(parts);
      return await registry.connect(hello, sink);
    },
    async uploadLog(ref, from) {
      throwIfStopping(parts);
      return await logs.upload(ref, from);
    },
    async storeArtifacts(ref, files, from) {
      throwIfStopping(parts);
      return await artifacts.store(ref, files, from);
    },
    async uploadArtifact(ref, file, from) {
      throwIfStopping(parts);
      return await artifacts.upload(ref, file, from);
    },
  };
}

function advancing(parts: Parts, options: EngineOptions): () => void {
  const { leaseTable, registry, space, retention } = parts;
  const { clock, log } = options;
  let advancedAt = clock.monotonic();
  let wasShort = false;
  return () => {
    const pauseMs = clock.monotonic() - advancedAt;
    advancedAt += pauseMs;
    if (pauseMs >= (options.stoppedFromMs ?? Infinity)) {
      log.warn("this process was stopped, leases are prolonged", { ms: Math.round(pauseMs) });
      registry.prolong(pauseMs);
    }
    registry.expire();
    if (leaseTable.queue.release(clock.monotonic()) > 0) leaseTable.assignSoon();
    space.tend();
    retention.tend();
    const { trouble } = space;
    if (trouble !== undefined && !wasShort) {
      const most = leaseTable.mostOutput();
      log.error("no room for output and new tasks", {
        reason: trouble,
        most_output: most?.ref.taskId,
        bytes: most === undefined ? undefined : most.logged.stdout + most.logged.stderr,
        next: most === undefined ? "free some space" : `agent task cancel ${most.ref.taskId}`,
      });
    } else if (trouble === undefined && wasShort) log.info("there is room again");
    wasShort = trouble !== undefined;
  };
}

function statsOf({ leaseTable, registry, commits, logs, removal }: Parts): EngineStats {
  return {
    tasks: leaseTable.store.counts(),
    queued: leaseTable.queue.size,
    running: leaseTable.leases.size,
    workers: registry.healthCounts(),
    sessions: registry.sessionCount,
    connects: registry.stats.sessions,
    commits: commits.stats.commits,
    commitFailures: commits.stats.failures,
    changes: commits.stats.changes,
    commitSeconds: commits.stats.seconds,
    slowestCommitSeconds: commits.stats.slowestSeconds,
    logBytes: logs.stats.bytes + leaseTable.stats.inlineBytes,
    superseded: leaseTable.stats.superseded,
    lostAttempts: leaseTable.stats.lost,
    leaseExpiries: registry.stats.leaseExpiries,
    storedBytes: leaseTable.store.storedBytes(),
    durations: {
      commit: commits.durations.read(),
      wait: leaseTable.latencies.wait.read(),
      start: leaseTable.latencies.start.read(),
      run: leaseTable.latencies.run.read(),
    },
    removedTasks: removal.stats.tasks,
    removedBytes: removal.stats.bytes,
  };
}

async function close(parts: Parts) {
  const { registry, stop, commits, logs, artifacts, leaseTable, retention } = parts;
  // Never less than the leases that it stands for.
  registry.stop(Math.max(leaseTimes.holdMs, registry.leaseMs));
  stop.abort(new TaskError("unavailable", "The coordinator is stopping"));
  commits.close();
  await Promise.all([logs.close(), artifacts.close(), retention.idle()]);
  leaseTable.store[Symbol.dispose]();
}
