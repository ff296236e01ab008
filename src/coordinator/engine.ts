import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { Artifacts } from "./artifacts.ts";
import * as calls from "./client_calls.ts";
import type { ArtifactFiles, LogFiles } from "./file_stores.ts";
import { Fleet } from "./worker_registry.ts";
import { idMaker } from "../tasks/ids.ts";
import { Journal } from "./group_commit.ts";
import { Ledger, monotonicOf } from "./lease_table.ts";
import { leaseTimes } from "../tasks/limits.ts";
import { Logs } from "./logs.ts";
import { Notices } from "./change_feed.ts";
import * as state from "./state_calls.ts";
import { TaskError, type TaskService, type WorkerService } from "../tasks/service.ts";
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

export interface Engine extends TaskService, WorkerService, AsyncDisposable {
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
  const changes = new Notices();
  const logNotices = new Notices();
  const stop = new AbortController();
  const journal = new Journal({
    store,
    clock,
    log,
    ...(options.commitEveryMs === undefined ? {} : { everyMs: options.commitEveryMs }),
    prepare: () => ledger.assign(fleet.assignees()),
    committed: (tasks) => {
      fleet.deliver();
      for (const id of tasks) {
        changes.tell(id);
        logNotices.tell(id);
      }
    },
  });
  const ledger: Ledger = new Ledger(store, journal, clock, recovered);
  const fleet: Fleet = new Fleet(ledger, log, recovered);
  for (const task of recovered.queued) {
    ledger.queue.add({ ...task, notBefore: monotonicOf(task.notBefore, clock) });
  }
  const logs = new Logs(ledger, options.logs, logNotices, stop.signal, clock);
  const artifacts = new Artifacts(ledger, options.artifacts, stop.signal);
  const parts: calls.Parts = {
    ledger,
    fleet,
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
    fleet.stop(leaseTimes.holdMs);
    stop.abort(new TaskError("unavailable", "The coordinator stops"));
    journal.close();
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
    listWorkers: call(() => fleet.list()),
    drainWorker: call((id) => fleet.setDraining(id, true)),
    resumeWorker: call((id) => fleet.setDraining(id, false)),
    getState: call((namespace, key) => state.getState(ledger, namespace, key)),
    putState: call((...args) => state.putState(ledger, ...args)),
    deleteState: call((...args) => state.deleteState(ledger, ...args)),
    listState: call((namespace, prefix) => state.listState(ledger, namespace, prefix)),

    connect: call((hello, sink) => fleet.connect(hello, sink)),
    uploadLog: call((ref) => logs.upload(ref)),
    uploadArtifact: call((ref, file) => artifacts.upload(ref, file)),

    advance() {
      const pauseMs = clock.monotonic() - advancedAt;
      advancedAt += pauseMs;
      if (pauseMs >= (options.stoppedFromMs ?? Infinity)) {
        log.warn("this process was stopped, leases are prolonged", { ms: Math.round(pauseMs) });
        fleet.prolong(pauseMs);
      }
      fleet.expire();
      if (ledger.queue.release(clock.monotonic()) > 0) journal.poke();
    },

    trouble: () => journal.failing?.message,

    stats() {
      const workers = { healthy: 0, late: 0, lost: 0 };
      for (const { health } of fleet.list()) workers[health]++;
      return {
        tasks: store.counts(),
        queued: ledger.queue.size,
        running: ledger.leases.size,
        workers,
        sessions: fleet.sessionCount,
        connects: fleet.stats.sessions,
        commits: journal.stats.commits,
        commitFailures: journal.stats.failures,
        changes: journal.stats.changes,
        commitSeconds: journal.stats.seconds,
        slowestCommitSeconds: journal.stats.slowestSeconds,
        logBytes: logs.stats.bytes,
        superseded: ledger.stats.superseded,
        lostAttempts: ledger.stats.lost,
        leaseExpiries: fleet.stats.leaseExpiries,
      };
    },

    [Symbol.asyncDispose]: () => closed ??= close(),
  };
}
