import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { Artifacts } from "./artifacts.ts";
import * as calls from "./client_calls.ts";
import type { ArtifactFiles, LogFiles } from "./file_stores.ts";
import { WorkerRegistry } from "./worker_registry.ts";
import { idMaker } from "../tasks/ids.ts";
import { GroupCommit } from "./group_commit.ts";
import { LeaseTable, monotonicOf } from "./lease_table.ts";
import { leaseTimes } from "../tasks/limits.ts";
import { Logs } from "./logs.ts";
import { ChangeFeed } from "./change_feed.ts";
import * as state from "./state_calls.ts";
import { TaskError, type TaskService, type WorkerServer } from "../tasks/service.ts";
import type { TaskStore } from "./store.ts";
import type { TaskState } from "../tasks/task.ts";

export interface EngineOptions {
  /** Closed with the engine. */
  store: TaskStore;
  logs: LogFiles;
  artifacts: ArtifactFiles;
  clock: Clock;
  log: Log;
  random?: () => number;
  /** Shortest time between two commits; tests set it to 0. */
  commitEveryMs?: number;
  /** From so long between two calls of `advance` on, this process itself was stopped meanwhile. */
  stoppedFromMs?: number;
}

/** What is worth watching; all but the first group only grow. */
export interface EngineStats {
  tasks: Record<TaskState, number>;
  queued: number;
  running: number;
  workers: { healthy: number; late: number; lost: number };
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
}

export interface Engine extends TaskService, WorkerServer, AsyncDisposable {
  /** What time brings: leases that run out, retries that are due. To be called each 100 ms or so. */
  advance(): void;
  stats(): EngineStats;
  /** Why nothing can be accepted at the moment, or undefined. */
  trouble(): string | undefined;
}

/**
 * The coordinator without a wire. Goes on where the store was left; its end is an orderly stop, in
 * which workers are told to keep what they run.
 */
export function openEngine(options: EngineOptions): Engine {
  const { store, clock, log } = options;
  const recovered = store.recover();
  const changes = new ChangeFeed();
  const logNotices = new ChangeFeed();
  const stop = new AbortController();
  const commits = new GroupCommit({
    store,
    clock,
    log,
    ...(options.commitEveryMs === undefined ? {} : { everyMs: options.commitEveryMs }),
    prepare: () => leaseTable.assign(registry.assignees()),
    committed: (tasks) => {
      registry.deliver();
      for (const id of tasks) {
        changes.tell(id);
        logNotices.tell(id);
      }
    },
  });
  const leaseTable: LeaseTable = new LeaseTable(store, commits, clock, recovered);
  const registry: WorkerRegistry = new WorkerRegistry(leaseTable, log, recovered);
  for (const task of recovered.queued) {
    leaseTable.queue.add({ ...task, notBefore: monotonicOf(task.notBefore, clock) });
  }
  const logs = new Logs(leaseTable, options.logs, logNotices, stop.signal, clock);
  const artifacts = new Artifacts(leaseTable, options.artifacts, stop.signal);
  const parts: calls.Parts = {
    leaseTable,
    registry,
    changes,
    newId: idMaker({
      now: clock.now,
      newest: recovered.newestId,
      ...(options.random === undefined ? {} : { random: options.random }),
    }),
    stopping: stop.signal,
  };

  let advancedAt = clock.monotonic();
  let closed: Promise<void> | undefined;
  async function close(): Promise<void> {
    registry.stop(leaseTimes.holdMs);
    stop.abort(new TaskError("unavailable", "The coordinator stops"));
    commits.close();
    await Promise.all([logs.close(), artifacts.close()]);
    store[Symbol.dispose]();
  }

  /** After its end nothing is to be asked of the store any more. */
  const call =
    <A extends unknown[], R>(answer: (...args: A) => R) =>
    async (...args: A): Promise<Awaited<R>> => {
      if (stop.signal.aborted) throw new TaskError("unavailable", "The coordinator stops");
      return await answer(...args);
    };

  return {
    submit: call((spec, more) => calls.submit(parts, spec, more)),
    getTask: call((id) => calls.getTask(parts, id)),
    listTasks: call((query) => calls.listTasks(parts, query)),
    watchTasks: (ids, signal) => calls.watchTasks(parts, ids, signal),
    cancelTask: call((id) => calls.cancelTask(parts, id)),
    retryTask: call((id) => calls.retryTask(parts, id)),
    readLog: (query, signal) => logs.read(query, signal),
    listArtifacts: call((taskId, attempt) => artifacts.list(taskId, attempt)),
    readArtifact: (query, signal) => artifacts.read(query, signal),
    listWorkers: call(() => registry.list()),
    drainWorker: call((id) => registry.setDraining(id, true)),
    resumeWorker: call((id) => registry.setDraining(id, false)),
    getState: call((namespace, key) => state.getState(leaseTable, namespace, key)),
    putState: call((...args) => state.putState(leaseTable, ...args)),
    deleteState: call((...args) => state.deleteState(leaseTable, ...args)),
    listState: call((namespace, prefix) => state.listState(leaseTable, namespace, prefix)),

    connect: call((hello, sink) => registry.connect(hello, sink)),
    uploadLog: call((ref) => logs.upload(ref)),
    uploadArtifact: call((ref, file) => artifacts.upload(ref, file)),

    advance() {
      const pauseMs = clock.monotonic() - advancedAt;
      advancedAt += pauseMs;
      if (pauseMs >= (options.stoppedFromMs ?? Infinity)) {
        log.warn("this process was stopped, leases are prolonged", { ms: Math.round(pauseMs) });
        registry.prolong(pauseMs);
      }
      registry.expire();
      if (leaseTable.queue.release(clock.monotonic()) > 0) commits.poke();
    },

    trouble: () => commits.failing?.message,

    stats() {
      const workers = { healthy: 0, late: 0, lost: 0 };
      for (const { health } of registry.list()) workers[health]++;
      return {
        tasks: store.counts(),
        queued: leaseTable.queue.size,
        running: leaseTable.leases.size,
        workers,
        sessions: registry.sessionCount,
        connects: registry.stats.sessions,
        commits: commits.stats.commits,
        commitFailures: commits.stats.failures,
        changes: commits.stats.changes,
        commitSeconds: commits.stats.seconds,
        slowestCommitSeconds: commits.stats.slowestSeconds,
        logBytes: logs.stats.bytes,
        superseded: leaseTable.stats.superseded,
        lostAttempts: leaseTable.stats.lost,
        leaseExpiries: registry.stats.leaseExpiries,
      };
    },

    [Symbol.asyncDispose]: () => closed ??= close(),
  };
}
