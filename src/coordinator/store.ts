import type { GrantedResources, Resources } from "../tasks/resources.ts";
import type { QueuedTask } from "./task_queue.ts";
import type {
  Artifact,
  AttemptRef,
  AttemptResult,
  Identity,
  InlineOutput,
  Labels,
  StateEntry,
  Task,
  TaskSpec,
  TaskState,
} from "../tasks/task.ts";
import type { TaskAfter } from "./policy.ts";

/** The states of a task and of its attempts. */
export interface Progress {
  state: TaskState;
  attempts: { attempt: number; state: TaskState; stdoutBytes: number; stderrBytes: number }[];
}

/**
 * Stores tasks. The engine makes the decisions; the store applies a batch of changes completely or not
 * at all, and committed changes survive a crash of the process and of the machine.
 *
 * - Calls are synchronous, and there is one user: the store cannot be opened twice.
 * - `commit` returns when the batch is on disk, with a result for each change, in order. If it throws,
 *   nothing of the batch was applied. A full disk is a `UserError` with the code `disk_full`.
 * - Reads see committed changes only, never part of a batch.
 * - Changes are trusted: the engine has checked them against its data in memory. Only what it does not
 *   keep in memory (late results, the revisions of state) is decided here, inside the transaction.
 */
export interface TaskStore extends Disposable {
  commit(changes: readonly Change[]): ChangeResult[];

  /** The data that the engine keeps in memory, as the previous start left it. */
  recover(): Recovered;
  /** The task with exactly this id; for the id of an array: undefined. */
  task(id: string): Task | undefined;
  spec(id: string): TaskSpec | undefined;
  /** The sequence number of a task, which must exist. */
  seq(id: string): number;
  /** The states of a task, without its other data: cheap. */
  progress(id: string): Progress | undefined;
  /** Output that came with the result of an attempt; undefined if none did. */
  output(id: string, attempt: number): InlineOutput | undefined;
  /**
   * Ids of tasks, newest first; fewer than `limit` if the tasks are large. `before` is an id, not
   * necessarily of a task in this store.
   */
  list(
    query: {
      states: readonly TaskState[];
      limit: number;
      before?: string;
      /** The name or the fingerprint of who submitted them. */
      submitter?: string;
    },
  ): { ids: string[]; more: boolean };
  /** At most `limit` tasks that have not finished, oldest first, starting after `seq`. */
  unfinished(seq: number, limit: number): { seq: number; id: string }[];
  /** The submission that an idempotency key was used for. */
  submission(key: string): { hash: string; id: string } | undefined;
  /** The numbers of an array's elements, ascending; empty for anything else. */
  elements(arrayId: string): Uint32Array;
  counts(): Record<TaskState, number>;

  /** At most `limit` tasks in any state, oldest first, starting after `seq`. */
  page(seq: number, limit: number): TaskRow[];
  /** When the last element of an array finished; undefined if some have not. */
  arrayEnd(arrayId: string): number | undefined;
  /** Bytes of a task's logs and artifacts. */
  outputBytes(seq: number): number;
  /** Of the output of all attempts that have ended, and of the database itself. Cheap. */
  storedBytes(): { output: number; database: number };
  /**
   * Returns some of the space of deleted tasks to the file system.
   *
   * @returns whether there is more.
   */
  shrink(): boolean;
  /** Lets go of pages that are kept in memory; they are read again when they are needed. */
  releaseMemory(): void;

  /** At most `limit`, ordered by path, starting after `path`. */
  artifacts(taskId: string, attempt: number, path: string, limit: number): Artifact[];
  /** One of them, without reading the others: there may be thousands. */
  artifact(taskId: string, attempt: number, path: string): Artifact | undefined;
  /** The bytes of one that was stored whole; undefined for another. */
  artifactData(taskId: string, attempt: number, path: string): Uint8Array | undefined;
  artifactCount(taskId: string, attempt: number): number;

  state(namespace: string, key: string): StateEntry | undefined;
  /** The first entry after `key`, if its key begins with `prefix`. */
  stateAfter(namespace: string, prefix: string, key: string): StateEntry | undefined;
}

/** `data`: its bytes, where it has no file of its own. */
export interface StoredArtifact extends Artifact {
  data?: Uint8Array;
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

/** An attempt whose end was not known. */
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
  /** See `TaskSpec`. */
  lostAfterMs: number | undefined;
  atOnce: number | undefined;
  resources: Resources | undefined;
  granted: GrantedResources | undefined;
  startedAt: number | undefined;
  cancelRequested: boolean;
}

/** One worker process, and later processes with the same data folder. */
export interface StoredHolder {
  id: number;
  workerId: string;
  instance: string;
  home: string | undefined;
  /** How long the coordinator keeps the leases after an orderly stop; 0 after any other. */
  holdMs: number;
  /** What it was promised at its last connection: see `Welcome.lease_ms`. */
  leaseMs: number;
  /** It ends each attempt by the task's own `lostAfterMs`. */
  keepsTaskLeases: boolean;
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
  fingerprint?: string | undefined;
  resources?: Resources | undefined;
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
    /** One task, or the elements of an array with consecutive `seq`. */
    tasks: NewTask[];
    /** The specification of all of them. */
    spec: TaskSpec;
    /** What each element has besides; by its index. */
    lines?: readonly string[] | undefined;
    at: number;
    arrayId: string | undefined;
    submitter?: Identity | undefined;
    key: { text: string; hash: string } | undefined;
  }
  | {
    kind: "assign";
    seq: number;
    ref: AttemptRef;
    workerId: string;
    holder: number;
    granted: GrantedResources | undefined;
    at: number;
  }
  | { kind: "start"; seq: number; ref: AttemptRef; at: number }
  /** The attempt has ended, and the task continues as `after` says. */
  | {
    kind: "end";
    seq: number;
    result: AttemptResult;
    after: TaskAfter;
    at: number;
  }
  /** The attempt never ran: it is removed, and its task is queued again. */
  | { kind: "release"; seq: number; ref: AttemptRef }
  /** A result of an attempt that is no longer running. ChangeResult: whether it had been lost. */
  | { kind: "late"; result: AttemptResult }
  /** Cancels a queued task. */
  | { kind: "cancel"; seq: number; reason: string; at: number }
  /** Marks a running task as cancelled. */
  | { kind: "request_cancel"; seq: number }
  /** Queues a finished task again. */
  | { kind: "retry"; seq: number; from: TaskState }
  /** A finished task, in that state; with the last element of an array the array goes, too. */
  | { kind: "delete"; seq: number; id: string; state: TaskState }
  | { kind: "worker"; worker: StoredWorker }
  | { kind: "forget_worker"; id: string }
  | { kind: "holder"; holder: StoredHolder }
  /** The attempt now belongs to another holder. */
  | { kind: "move"; seq: number; ref: AttemptRef; holder: number }
  | { kind: "artifacts"; seq: number; artifacts: StoredArtifact[] }
  /** ChangeResult: the entry, or the current revision if it is not `ifRevision`. */
  | {
    kind: "put_state";
    namespace: string;
    key: string;
    value: Uint8Array;
    ifRevision: number | undefined;
    at: number;
    by?: Identity | undefined;
  }
  /** ChangeResult: the namespace's new revision, or the key's current one if it differs; missing: 0. */
  | { kind: "delete_state"; namespace: string; key: string; ifRevision: number | undefined }
  /** An empty write, to see whether the disk has space again. */
  | { kind: "probe" };

export type ChangeResult =
  | undefined
  | { lost: boolean }
  | { entry: StateEntry }
  | { revision: number }
  | { conflict: number };
