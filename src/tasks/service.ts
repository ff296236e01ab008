import type { Resources } from "./resources.ts";
import type {
  Artifact,
  Assignment,
  AttemptRef,
  AttemptResult,
  Identity,
  Labels,
  SmallFile,
  StateEntry,
  Task,
  TaskSpec,
  TaskState,
  WorkerInfo,
} from "./task.ts";

/**
 * The interface of a coordinator, independent of the wire. `peer/server` calls it for gRPC;
 * `peer/client` implements its client half over gRPC, so a caller need not know on which side it is.
 *
 * Every method throws `TaskError` with a closed code; the wires map codes to their own statuses.
 */
export const taskErrorCodes = [
  "invalid",
  "not_found",
  "already_exists",
  "wrong_state",
  /** A revision that is not the current one, or a lease that was lost. */
  "conflict",
  "exhausted",
  "unavailable",
  /** From the wire: the caller could not prove its identity. */
  "unauthenticated",
  /** The caller is known, and may not do this. */
  "forbidden",
  /** From the wire: the other side is of a version without this call. */
  "unsupported",
  "internal",
] as const;

export type TaskErrorCode = (typeof taskErrorCodes)[number];

export class TaskError extends Error {
  override name = "TaskError";
  /** What to do about it, as in `UserError`. */
  readonly next: string | undefined;
  /** The request was not sent: it can go to another coordinator without being done twice. */
  readonly unsent: boolean;
  constructor(
    readonly code: TaskErrorCode,
    message: string,
    /** The current revision, for a conflict of `state put` and `state delete`; 0: no such key. */
    readonly revision?: number,
    options?: ErrorOptions & { next?: string | undefined; unsent?: boolean },
  ) {
    super(message, options);
    this.next = options?.next;
    this.unsent = options?.unsent ?? false;
  }
}

/** Indices, both ends included. */
export interface IndexRange {
  first: number;
  last: number;
}

export interface SubmitOptions {
  /** `more`: further ranges, ascending and without overlap. */
  array?: IndexRange & { more?: IndexRange[] };
  /** In place of `array`: a task for each line, from index 0. */
  lines?: readonly string[];
  idempotencyKey?: string;
  /** The caller. On the coordinator the wire sets it, whatever the client sent. */
  submitter?: Identity | undefined;
}

export interface Submitted {
  /** The task's id, or the array's. */
  id: string;
  taskIds: string[];
  existing: boolean;
}

export interface LogPiece {
  attempt: number;
  stream: "stdout" | "stderr";
  offset: number;
  data: Uint8Array;
}

export interface TaskQuery {
  states?: TaskState[];
  limit?: number;
  /** Tasks older than this id. */
  before?: string;
  /** The name or fingerprint of the submitter. */
  submitter?: string;
}

export interface PruneQuery {
  /** Tasks that finished longer ago than this. */
  olderThanMs: number;
  /** Of finished tasks; none: all. */
  states?: TaskState[];
  /** Only counts. */
  dryRun?: boolean;
}

export interface Pruned {
  tasks: number;
  /** Bytes of their logs and artifacts. */
  bytes: number;
}

/** Where a follower of several tasks stands in one of them. */
export interface FollowPosition {
  taskId: string;
  attempt: number;
  stdoutOffset: number;
  stderrOffset: number;
}

/** Of a followed task: some output, a further attempt, or its end, when all its output was given. */
export type FollowedItem =
  | { taskId: string; piece: LogPiece }
  | { taskId: string; begun: number }
  | { finished: Task };

/** A task as it is now, or the id of one that was deleted. */
export type TaskChange = { task: Task } | { deletedId: string };

/** The calls of clients, over any wire. */
export interface TaskService {
  /** Settles when the task is on disk. */
  submit(spec: TaskSpec, options?: SubmitOptions): Promise<Submitted>;
  /** One task, or all elements of an array. */
  getTask(id: string): Promise<Task[]>;
  /** Newest first. */
  listTasks(query: TaskQuery): Promise<{ tasks: Task[]; more: boolean }>;
  /**
   * The tasks as they are now, then each change; ends when all of `ids` have finished. Without ids:
   * those that have not finished, then each change of any task.
   */
  watchTasks(ids: string[], signal: AbortSignal): AsyncIterable<Task>;
  /**
   * As `watchTasks` without ids; also which tasks are deleted.
   *
   * @param onlyChanges what has not finished is not told first; a coordinator of a former version does.
   */
  watchChanges(signal: AbortSignal, onlyChanges?: boolean): AsyncIterable<TaskChange>;
  cancelTask(id: string): Promise<Task[]>;
  retryTask(id: string): Promise<Task[]>;
  /**
   * Removes a finished task, or an array whose elements have all finished, with logs and artifacts.
   *
   * @returns the tasks as they were.
   */
  deleteTask(id: string): Promise<Task[]>;
  /** Removes what finished long ago. */
  pruneTasks(query: PruneQuery): Promise<Pruned>;
  readLog(
    query: {
      taskId: string;
      /** Undefined: the newest; with `follow`: all from the newest on. */
      attempt?: number;
      follow?: boolean;
      stdoutOffset?: number;
      stderrOffset?: number;
    },
    signal: AbortSignal,
  ): AsyncIterable<LogPiece>;
  /**
   * Small artifacts, whole and in the order of `paths`, within the limits for small files. Absent: not
   * over this wire.
   */
  getArtifacts?(taskId: string, attempt: number, paths: readonly string[]): Promise<Uint8Array[]>;
  /**
   * The output and the ends of tasks, or of all elements of arrays, in one stream of parts: of each task
   * every byte once and in order, then its end. Over when all have finished. Absent: not over this wire.
   *
   * @param positions where the caller stands; in the other tasks at the beginning.
   */
  followTasks?(
    ids: readonly string[],
    positions: readonly FollowPosition[],
    signal: AbortSignal,
  ): AsyncIterable<FollowedItem[]>;
  /** @param path only the one with this path; a coordinator of a former version gives all. */
  listArtifacts(taskId: string, attempt?: number, path?: string): Promise<Artifact[]>;
  readArtifact(
    query: { taskId: string; attempt?: number; path: string; offset?: number },
    signal: AbortSignal,
  ): AsyncIterable<{ offset: number; data: Uint8Array }>;

  listWorkers(): Promise<WorkerInfo[]>;
  drainWorker(id: string): Promise<WorkerInfo>;
  resumeWorker(id: string): Promise<WorkerInfo>;
  /**
   * The worker's host is known to be gone: its leases end now, and it is removed. A connected one is
   * `wrong_state`.
   *
   * @returns the worker as it was.
   */
  forgetWorker(id: string): Promise<WorkerInfo>;

  getState(namespace: string, key: string): Promise<StateEntry>;
  /** `ifRevision` 0: only if the key does not exist. */
  putState(
    namespace: string,
    key: string,
    value: Uint8Array,
    ifRevision?: number,
  ): Promise<StateEntry>;
  deleteState(namespace: string, key: string, ifRevision?: number): Promise<{ revision: number }>;
  listState(namespace: string, prefix: string): Promise<StateEntry[]>;
  /** The entries that there are, then what changes, until the signal aborts. */
  watchState(namespace: string, prefix: string, signal: AbortSignal): AsyncIterable<StateChange>;
}

/** `complete`: the entries that there were at the beginning have been told. */
export type StateChange = { entry: StateEntry } | { deletedKey: string } | { complete: true };

/** Calls whose answers may be long. */
type LongAnswer =
  | "getTask"
  | "listTasks"
  | "cancelTask"
  | "retryTask"
  | "deleteTask"
  | "pruneTasks"
  | "listArtifacts"
  | "listWorkers"
  | "listState";

/**
 * `TaskService` as a coordinator serves it. Long answers are built while they are read, in steps
 * between which the event loop is free; a reader that stops reading stops the work. Changes (cancel, retry,
 * delete) are made before the first item, and as a whole.
 */
export interface TaskServer extends Omit<TaskService, LongAnswer> {
  /** @param by who calls, by the verified certificate. */
  putState(
    namespace: string,
    key: string,
    value: Uint8Array,
    ifRevision?: number,
    by?: Identity,
  ): Promise<StateEntry>;
  getTask(id: string): AsyncIterable<Task>;
  listTasks(query: TaskQuery): Promise<{ tasks: AsyncIterable<Task>; more: boolean }>;
  cancelTask(id: string): AsyncIterable<Task>;
  retryTask(id: string): AsyncIterable<Task>;
  deleteTask(id: string): AsyncIterable<Task>;
  /** How much is removed by then, each time that it has grown; the last counts all. */
  pruneTasks(query: PruneQuery): AsyncIterable<Pruned>;
  followTasks: NonNullable<TaskService["followTasks"]>;
  getArtifacts: NonNullable<TaskService["getArtifacts"]>;
  listArtifacts(taskId: string, attempt?: number, path?: string): AsyncIterable<Artifact>;
  listWorkers(): AsyncIterable<WorkerInfo>;
  listState(namespace: string, prefix: string): AsyncIterable<StateEntry>;
}

export interface WorkerHello {
  workerId: string;
  /** Random, new at each start of the worker's process. */
  instance: string;
  /**
   * Stands for the worker's data folder. Sent only once every process of a predecessor has ended;
   * undefined: they may still run. The head of agent.proto says what follows from it.
   */
  home: string | undefined;
  /** It ends each attempt by the task's own `lostAfterMs`. */
  keepsTaskLeases?: boolean;
  version: string;
  labels: Labels;
  slots: number;
  /** What tasks may have for themselves. */
  resources?: Resources | undefined;
  /** Attempts that are running or whose result was not yet acknowledged. */
  held: AttemptRef[];
  warnings: string[];
  /** `host:port` as the coordinator sees it, which tells this connection from all others. */
  address: string;
  /** Subject of the verified certificate. */
  identity: string | undefined;
  /** Of the same certificate. */
  fingerprint?: string | undefined;
  /** What the verified certificate says about the worker's id; absent without mTLS. */
  certificate?: {
    /** SHA-256 of its public key: it stays the same where a renewal keeps the key. */
    publicKey: string;
    /** It may only use ids that it names, or that it was the first to use. */
    isBound: boolean;
    /** It names this worker's id. */
    namesId: boolean;
  } | undefined;
}

/**
 * What the coordinator tells one worker; calls never block or throw, and none comes before
 * `connect` has settled but `end`. On the coordinator the wire
 * implements it, on the worker the worker does: `peer/client` implements `WorkerService` over gRPC.
 */
export interface WorkerSink {
  assign(assignments: Assignment[]): void;
  cancel(ref: AttemptRef): void;
  finishedAck(ref: AttemptRef, superseded: boolean): void;
  drain(draining: boolean): void;
  /** The coordinator stops, and gives away no lease of this session before then. */
  hold(holdMs: number): void;
  /**
   * The session is over: a newer one of the same worker took its place, the coordinator stops, or,
   * on the worker, the stream broke. Called once, and nothing else after it.
   */
  end(error: TaskError): void;
}

/** One worker's session, as the wire drives it. */
export interface WorkerSession {
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly draining: boolean;
  /** Output that may come with a result, of both streams together; 0: none. */
  readonly inlineBytes: number;
  /** The size of the files that `storeArtifacts` takes; absent: it takes none. */
  readonly smallFileBytes?: number;
  /** The attempts of `WorkerHello.held` that no longer belong to this worker. */
  readonly lost: AttemptRef[];
  /**
   * Renews all leases. Resolves when the coordinator has acknowledged it.
   *
   * @param trouble why the worker cannot start tasks now; it then gets no work.
   */
  heartbeat(trouble?: string): Promise<void>;
  credit(count: number): void;
  started(ref: AttemptRef, at: number): void;
  /** Acknowledged through the sink, after the commit. */
  finished(result: AttemptResult): void;
  /**
   * Gives back attempts that never ran; this uses up no retry.
   *
   * @param reason why the host could not start them; absent: no slot was free.
   */
  released(refs: AttemptRef[], reason?: string): void;
  /** Called when the stream has ended. Leases stay valid until they expire. */
  closed(): void;
}

/** A worker's session on the coordinator, for the server that carries it. */
export interface ServedSession extends WorkerSession {
  /** Called when the worker stops reading, or reads again: nothing is assigned in between. */
  blocked(isBlocked: boolean): void;
}

export interface LogOffsets {
  stdout: number;
  stderr: number;
}

/** Receives one attempt's logs. Refuses a lost lease with `conflict`. */
export interface LogUpload {
  /** Offsets up to which bytes are stored: the worker continues there. */
  readonly offsets: LogOffsets;
  /** Ignores data that is already stored; a gap is `invalid`. Resolves when it is written. */
  append(stream: "stdout" | "stderr", offset: number, data: Uint8Array): Promise<void>;
  /** Resolves when everything is on disk; `invalid` if the lengths differ. */
  end(lengths: LogOffsets): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A file that the coordinator does not store, and why. */
export interface RefusedFile {
  path: string;
  reason: string;
}

/** Receives one artifact. */
export interface ArtifactUpload {
  readonly offset: number;
  append(offset: number, data: Uint8Array): Promise<void>;
  /** Checks size and checksum, settles when it is on disk under its name. */
  end(sha256: string): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * `WorkerService` as a coordinator serves it. Uploads belong to the session that holds the lease: `from`
 * is the caller's address, and has to be that session's.
 */
export interface WorkerServer {
  connect(hello: WorkerHello, sink: WorkerSink): Promise<ServedSession>;
  uploadLog(ref: AttemptRef, from: string): Promise<LogUpload>;
  uploadArtifact(
    ref: AttemptRef,
    file: { path: string; size: number; mode: number },
    from: string,
  ): Promise<ArtifactUpload>;
  storeArtifacts(ref: AttemptRef, files: SmallFile[], from: string): Promise<RefusedFile[]>;
}

/** The calls of workers, over any wire. Uploads apply back-pressure: `append` resolves later. */
export interface WorkerService {
  /**
   * Resolves when the coordinator has decided which attempts the worker keeps. The decision is stored in
   * the next batch, before any of them is given to another; after a crash it is made again.
   */
  connect(hello: WorkerHello, sink: WorkerSink): Promise<WorkerSession>;
  /** @param stored called whenever `offsets` of the upload have grown. */
  uploadLog(ref: AttemptRef, stored?: () => void): Promise<LogUpload>;
  uploadArtifact(
    ref: AttemptRef,
    file: { path: string; size: number; mode: number },
  ): Promise<ArtifactUpload>;
  /**
   * Small artifacts, whole, within the limits for small files; those that may be stored are on disk when
   * it settles. Only where a session has `smallFileBytes`.
   *
   * @returns the others.
   */
  storeArtifacts?(ref: AttemptRef, files: SmallFile[]): Promise<RefusedFile[]>;
}
