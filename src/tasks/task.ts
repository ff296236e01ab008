import type { GrantedResources, Resources } from "./resources.ts";

/** Tasks, attempts and workers. Times are milliseconds since the epoch. */

export const taskStates = [
  "queued",
  "running",
  "succeeded",
  "failed",
  "cancelled",
  "timed_out",
  "lost",
] as const;
export type TaskState = (typeof taskStates)[number];

/** States in which nothing more happens unless the task is retried. */
export type FinishedState = Exclude<TaskState, "queued" | "running">;

export function isFinished(state: TaskState): state is FinishedState {
  return state !== "queued" && state !== "running";
}

export type Labels = Readonly<Record<string, string>>;

export interface TaskSpec {
  /** The program and its arguments; at least one. */
  argv: string[];
  env: Record<string, string>;
  /** Undefined: a new folder, which is removed after the attempt. */
  cwd: string | undefined;
  /** Labels that the worker must have. */
  selector: Labels;
  /** For one attempt. */
  timeoutMs: number | undefined;
  /** Further attempts after one that failed or timed out. Lost attempts do not count. */
  retries: number;
  retryDelayMs: number;
  /** Globs relative to the task's folder. */
  artifacts: string[];
  /** A lost attempt ends the task as `lost`. */
  noRequeue?: boolean;
  /** How often a lost attempt is repeated; absent: `leaseTimes.maxRequeues`. */
  maxLost?: number;
  /** How long its worker may be out of touch before its attempt is lost; 0: for ever; absent: by the coordinator. */
  lostAfterMs?: number;
  /** For an array: how many of its elements may run at once. */
  atOnce?: number;
  /** Standard input of the process; absent: it is empty, or this side does not get it. */
  stdin?: Uint8Array;
  /** Length of `stdin`, where this side does not get it. */
  stdinBytes?: number;
  /** What it has for itself. */
  resources?: Resources;
}

/** One lease of one task. */
export interface AttemptRef {
  taskId: string;
  /** From 1. */
  attempt: number;
  /** Grows with every attempt of the coordinator; an older one is refused. */
  fence: number;
}

export interface Attempt {
  attempt: number;
  fence: number;
  workerId: string;
  state: TaskState;
  assignedAt: number;
  startedAt: number | undefined;
  finishedAt: number | undefined;
  exitCode: number | undefined;
  /** For example "SIGKILL". */
  signal: string | undefined;
  reason: string | undefined;
  stdoutBytes: number;
  stderrBytes: number;
  /** Its result came after its lease was given away. */
  superseded: boolean;
}

/** The caller, from a verified certificate. */
export interface Identity {
  /** The common name; where there is none, the subject. */
  name: string;
  /** SHA-256 of the certificate, in lower-case hex. */
  fingerprint: string;
}

export interface Task {
  id: string;
  spec: TaskSpec;
  state: TaskState;
  submittedAt: number;
  finishedAt: number | undefined;
  /** Oldest first. */
  attempts: Attempt[];
  arrayId: string | undefined;
  arrayIndex: number | undefined;
  /** Not to be assigned before this time. */
  notBefore: number | undefined;
  cancelRequested: boolean;
  reason: string | undefined;
  /** Absent without mTLS. */
  submitter?: Identity | undefined;
}

/** How an attempt ended, as its worker saw it. */
export interface AttemptResult {
  ref: AttemptRef;
  state: FinishedState;
  exitCode: number | undefined;
  signal: string | undefined;
  reason: string | undefined;
  startedAt: number | undefined;
  finishedAt: number;
  stdoutBytes: number;
  stderrBytes: number;
  /** All that it wrote, where that is little and was not uploaded. */
  output?: InlineOutput;
}

/** An artifact with its bytes. */
export interface SmallFile {
  /** Relative to the task's folder, with forward slashes. */
  path: string;
  mode: number;
  /** Lower-case hex. */
  sha256: string;
  data: Uint8Array;
}

export interface InlineOutput {
  stdout: Uint8Array;
  stderr: Uint8Array;
}

export interface Assignment {
  ref: AttemptRef;
  spec: TaskSpec;
  arrayId: string | undefined;
  arrayIndex: number | undefined;
  /** What it has for itself. */
  granted?: GrantedResources | undefined;
}

export interface Artifact {
  /** Relative to the task's folder, with forward slashes. */
  path: string;
  size: number;
  /** Lower-case hex. */
  sha256: string;
  /** Permission bits. */
  mode: number;
  attempt: number;
}

export type WorkerHealth = "healthy" | "late" | "lost";

export interface WorkerInfo {
  id: string;
  version: string;
  labels: Labels;
  slots: number;
  /** Tasks whose process it has started. */
  running: number;
  /** Tasks that it has been given besides, so that the next one starts at once. */
  assigned: number;
  health: WorkerHealth;
  draining: boolean;
  connected: boolean;
  connectedAt: number | undefined;
  lastHeartbeatAt: number | undefined;
  address: string;
  identity: string | undefined;
  /** SHA-256 of its verified certificate, in lower-case hex. */
  fingerprint?: string | undefined;
  /** What tasks may have for themselves, and how much of it they have. */
  resources?: Resources | undefined;
  resourcesUsed?: Resources | undefined;
  warnings: string[];
  /** Why it cannot start tasks now. */
  trouble?: string | undefined;
}

export interface StateEntry {
  namespace: string;
  key: string;
  value: Uint8Array;
  revision: number;
  updatedAt: number;
  /** Absent without mTLS. */
  updatedBy?: Identity | undefined;
}
