import type { GrantedResources } from "./resources.ts";

/**
 * Orders of the worker's role, which has sockets and may not start processes, to the runner, which starts
 * processes and has no socket; and the runner's reports. Both are threads of one process, so orders and
 * reports are plain data, and are sent in batches.
 *
 * One attempt: `start`; then `started`, `output`…, `exited` and, if artifacts were requested,
 * `collected`; then `forget`, after which the runner keeps nothing of it. A start that is refused or
 * fails is reported by `exited` alone. Output is sent while less than `outputWindowBytes` of it has
 * not been taken.
 */
export type Order =
  | StartOrder
  /** Ends the attempt: SIGTERM, and SIGKILL after the grace. */
  | { kind: "end"; key: string; cause: "cancelled" | "lost"; graceMs: number }
  /** The role has taken this many bytes of an attempt's output: the runner may send as many more. */
  | { kind: "taken"; key: string; stream: OutputStream; bytes: number }
  /**
   * The lease is valid for `forMs` from `sentAt`, the time of day at which the order was sent. After
   * that the runner kills the attempts of the lease.
   */
  | { kind: "renew"; lease: string; forMs: number; sentAt: number }
  /** Tests whether tasks can be started, and reports `tested`. */
  | { kind: "test" }
  /** Removes the attempt's folders. */
  | { kind: "forget"; key: string };

export type OutputStream = "stdout" | "stderr";

export interface StartOrder {
  kind: "start";
  /** Unique among all attempts of the worker: see `attemptKey`. */
  key: string;
  /** Names the leases that it runs under: of one coordinator, and equally long. */
  lease: string;
  taskId: string;
  arrayIndex: number | undefined;
  argv: string[];
  env: Record<string, string>;
  cwd: string | undefined;
  timeoutMs: number | undefined;
  /** Resources that the task has for itself. */
  granted: GrantedResources | undefined;
  /** Standard input; undefined: empty. */
  stdin: Uint8Array | undefined;
  /** Globs of the files to collect from the attempt's folder. */
  artifacts: string[];
}

/** Why an attempt's processes ended, or were never started. */
export type EndCause =
  | "exit"
  | "timed_out"
  | "cancelled"
  | "lost"
  | "not_started"
  /** Not started because of this host; another may be able to. */
  | "host_failed";

export interface Collected {
  /** Relative to the task's folder, with forward slashes. */
  path: string;
  /** The path of a copy that the task cannot change. */
  file: string;
  size: number;
  mode: number;
  sha256: string;
}

/** A report about one attempt. */
export type AttemptReport = Extract<Report, { key: string }>;

export type Report =
  | { kind: "started"; key: string; at: number }
  | { kind: "output"; key: string; stream: OutputStream; data: Uint8Array }
  | {
    kind: "exited";
    key: string;
    cause: EndCause;
    startedAt: number | undefined;
    at: number;
    exitCode: number | undefined;
    signal: string | undefined;
    reason: string | undefined;
    /** Whether `collected` follows. */
    collects: boolean;
  }
  | { kind: "collected"; key: string; files: Collected[]; notes: string[] }
  /** Once a second: the runner works. The role renews no lease without it. */
  | { kind: "alive" }
  /** Why no task could be started; undefined if one could. */
  | { kind: "tested"; problem: string | undefined }
  /** The worker is to take no more tasks, and to end when the running ones have ended. */
  | { kind: "retire" };

/**
 * A task's output that the runner has sent and the role has neither passed on nor written to disk.
 * The size of 16 pipes, so that reading never waits for one turn of the other thread.
 */
export const outputWindowBytes = 1024 * 1024;

/** The runner's first message, after it has ended what earlier starts of the worker left behind. */
export interface RunnerReady {
  kind: "ready";
  /** Of this start. */
  instance: string;
  /** See `WorkerHello.home`. */
  home: string | undefined;
  /** Problems that a person should fix. */
  warnings: string[];
}

/** A name for one attempt that is also a name for a file. */
export function attemptKey(ref: { taskId: string; attempt: number; fence: number }): string {
  return `${ref.taskId}.${ref.attempt}.${ref.fence}`;
}
