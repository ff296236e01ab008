import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Order, Report } from "../tasks/orders.ts";
import type { WorkerHello, WorkerService } from "../tasks/service.ts";
import type { Spool } from "./spool.ts";

export interface WorkerOptions {
  hello: Omit<WorkerHello, "held">;
  coordinators: { address: string; service: WorkerService }[];
  order: (orders: Order[]) => void;
  /** Calls `heard` with each batch of the runner's reports. */
  listen: (heard: (reports: Report[]) => void) => void;
  readFile: (path: string) => AsyncIterable<Uint8Array>;
  spool: Spool;
  clock: Clock;
  log: Log;
  random?: () => number;
  /** Called whenever a session begins or ends, with the number of sessions. */
  connected?: (sessions: number) => void;
}
