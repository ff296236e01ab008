import type { QueuedTask } from "./task_queue.ts";
import type {
  Artifact,
  AttemptRef,
  AttemptResult,
  Labels,
  StateEntry,
  Task,
  TaskSpec,
  TaskState,
} from "../tasks/task.ts";
import type { TaskAfter } from "./policy.ts";

/** How far a task and its attempts are. */
export interface Progress {
  state: TaskState;
  attempts: { attempt: number; state: TaskState }[];
}

/**
 * Where tasks are kept. The engine decides, the store remembers: it applies a batch of changes whole
 * or not at all, and what it has committed outlives a crash of the process and of the machine.
 *
 * - Calls are synchronous, and there is one user: the store refuses to be opened twice.
 * - `commit` returns when the batch is on disk, an outcome for each change, in order. When it throws,
 *   nothing of the batch has happened. A full disk is a `UserError` with the code `disk_full`.
 * - Reads see what was committed, and never the middle of a batch.
 * - Changes are trusted: the engine has checked them against what it holds in memory. Only what it
 *   does not hold (late results, the revisions of state) is decided here, inside the transaction.
 */
export interface TaskStore extends Disposable {
  commit(changes: readonly Change[]): ChangeResult[];

  /** What the engine holds in memory, as an earlier start left it. */
  recover(): Recovered;
  /** The task with this very id: not the elements of an array. */
  task(id: string): Task | undefined;
  spec(id: string): TaskSpec | undefined;
  /** Of a task that there is. */
  seq(id: string): number;
  /** Where a task is, without what it is: cheap. */
  progress(id: string): Progress | undefined;
  /**
   * Ids of tasks, newest first, fewer than `limit` where the tasks are large. `before` is an id, of a
   * task here or elsewhere.
   */
  list(
    query: { states: readonly TaskState[]; limit: number; before?: string },
  ): { ids: string[]; more: boolean };
  /** At most `limit` tasks that have not finished, oldest first, from the one after `seq` on. */
  unfinished(seq: number, limit: number): { seq: number; id: string }[];
  /** What an idempotency key was used for. */
  submission(key: string): { hash: string; id: string } | undefined;
  /** Ids of an array's elements, in order; of a task: its own. */
  taskIds(id: string): string[];
  counts(): Record<TaskState, number>;

  /** At most `limit` tasks in any state, oldest first, from the one after `seq` on. */
  page(seq: number, limit: number): TaskRow[];
  /** When the last element of an array finished; undefined: not all have. */
  arrayEnd(arrayId: string): number | undefined;
  /** Bytes of a task's logs and artifacts. */
  outputBytes(seq: number): number;
  /**
   * Gives space that deleted tasks have left back to the file system, some at a time.
   *
   * @returns whether there is more.
   */
  shrink(): boolean;

  /** At most `limit`, by path, from the one after `path` on. */
  artifacts(taskId: string, attempt: number, path: string, limit: number): Artifact[];
  /** One of them, without a look at the others: there may be thousands. */
  artifact(taskId: string, attempt: number, path: string): Artifact | undefined;
  artifactCount(taskId: string, attempt: number): number;

  state(namespace: string, key: string): StateEntry | undefined;
  /** The first entry after `key`, if its key begins with `prefix`. */
  stateAfter(namespace: string, prefix: string, key: string): StateEntry | undefined;
}

/** A task without what it is. */
export interface TaskRow {
  seq: number;
  id: string;
  state: TaskState;
  submittedAt: number;
  finishedAt: number | undefined;
  /** Number of its last attempt. */
  attempts: number;
}

export interface FinishedTask extends TaskRow {
  finishedAt: number;
}

export interface Recovered {
  queued: Iterable<QueuedTask>;
  running: StoredLease[];
  holders: StoredHolder[];
  workers: StoredWorker[];
  nextSeq: number;
  nextFence: number;
  newestId: string | undefined;
}

/** An attempt that was not known to have ended. */
export interface StoredLease {
  seq: number;
  ref: AttemptRef;
  holder: number;
  selector: Labels;
  retries: number;
  retryDelayMs: number;
  failures: number;
  losses: number;
  maxLost: number | undefined;
  startedAt: number | undefined;
  cancelRequested: boolean;
}

/** One worker process, or its successors in the same data folder. */
export interface StoredHolder {
  id: number;
  workerId: string;
  instance: string;
  home: string | undefined;
  /** How long the coordinator promised to keep the leases when it stopped in order; else 0. */
  holdMs: number;
}

export interface StoredWorker {
  id: string;
  version: string;
  labels: Labels;
  slots: number;
  draining: boolean;
  connectedAt: number;
  address: string;
  identity: string | undefined;
  warnings: string[];
  /** Public key of the certificate that the id belongs to: see `WorkerHello.certificate`. */
  owner: string | undefined;
}

export interface NewTask {
  seq: number;
  id: string;
  arrayIndex: number | undefined;
}

export type Change =
  | {
    kind: "submit";
    /** One, or the elements of an array; their `seq` are consecutive. */
    tasks: NewTask[];
    /** Of all the tasks. */
    spec: TaskSpec;
    at: number;
    arrayId: string | undefined;
    key: { text: string; hash: string } | undefined;
  }
  | { kind: "assign"; seq: number; ref: AttemptRef; workerId: string; holder: number; at: number }
  | { kind: "start"; seq: number; ref: AttemptRef; at: number }
  /** The attempt has ended, and the task continues as `after` says. */
  | {
    kind: "end";
    seq: number;
    result: AttemptResult;
    after: TaskAfter;
    at: number;
  }
  /** The attempt never ran: it is forgotten, and its task waits again. */
  | { kind: "release"; seq: number; ref: AttemptRef }
  /** A result of an attempt that is no longer running. ChangeResult: whether it had been lost. */
  | { kind: "late"; result: AttemptResult }
  /** A queued task. */
  | { kind: "cancel"; seq: number; reason: string; at: number }
  /** A running task. */
  | { kind: "request_cancel"; seq: number }
  /** A finished task, in that state. */
  | { kind: "retry"; seq: number; from: TaskState }
  /** A finished task, in that state; with the last element of an array the array goes, too. */
  | { kind: "delete"; seq: number; id: string; state: TaskState }
  | { kind: "worker"; worker: StoredWorker }
  | { kind: "forget_worker"; id: string }
  | { kind: "holder"; holder: StoredHolder }
  /** The attempt is another holder's from now on. */
  | { kind: "move"; seq: number; ref: AttemptRef; holder: number }
  | { kind: "artifact"; seq: number; artifact: Artifact }
  /** ChangeResult: the entry, or the revision that stood against it. */
  | {
    kind: "put_state";
    namespace: string;
    key: string;
    value: Uint8Array;
    ifRevision: number | undefined;
    at: number;
  }
  /** ChangeResult: the namespace's new revision, or the one that stood against it; missing: 0. */
  | { kind: "delete_state"; namespace: string; key: string; ifRevision: number | undefined }
  /** Nothing but a write, to see whether there is room again. */
  | { kind: "probe" };

export type ChangeResult =
  | undefined
  | { lost: boolean }
  | { entry: StateEntry }
  | { revision: number }
  | { conflict: number };
