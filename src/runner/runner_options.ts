import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Report } from "../tasks/orders.ts";
import type { Cgroups } from "./cgroups.ts";
import type { WorkerDirectory } from "./folders.ts";
import type { GuardianCommand } from "./guardian_protocol.ts";
import type { TaskUser } from "./user.ts";

export interface RunnerOptions {
  folder: WorkerDirectory;
  user: TaskUser;
  /** Undefined if cgroups cannot be used. */
  cgroups: Cgroups | undefined;
  /**
   * Whether children of this process that nothing here has started belong to tasks, and are ended
   * with them. Needed without cgroups; wrong where other code of the process starts programs.
   */
  endsOrphans: boolean;
  /** Real paths; undefined: all. */
  allowed: ReadonlySet<string> | undefined;
  /** With `allowed`: names of variables that tasks may set. */
  allowedVariables: ReadonlySet<string>;
  /** Commands that start this program as a guardian, and as the process that works in tasks' folders. */
  guardian: GuardianCommand;
  taskFiles: GuardianCommand;
  clock: Clock;
  log: Log;
  /** Variables of the worker's own environment. */
  variable: (name: string) => string | undefined;
  /** Sends reports to the role. */
  report: (reports: Report[], transfer: ArrayBuffer[]) => void;
  bounds: {
    /** Time without a heartbeat after which the guardian ends all tasks. */
    guardianMs: number;
    /** See orders.ts. */
    windowBytes: number;
    maxArtifacts: number;
  };
}
