import { messageOf } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import { aborted, every, together } from "../base/lifetimes.ts";
import type { Log } from "../base/log.ts";
import type { Order, Report } from "../tasks/orders.ts";
import type { WorkerHello, WorkerService } from "../tasks/service.ts";
import { SlotScheduler, type WorkerStats } from "./slot_scheduler.ts";
import type { Spool } from "./spool.ts";

/** How often what only time changes is looked at. */
const tickMs = 100;

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
  /** Told whenever a session begins or ends. */
  connected?: (sessions: number) => void;
}

export interface Worker {
  stats(): WorkerStats;
  /**
   * Keeps sessions with all coordinators and runs what they assign, in slots that they share. Told
   * to stop, it takes no more work, hands back what has not begun, lets running tasks go on for a
   * while, ends them, and reports them as lost so that they are given to others at once.
   */
  serve(signal: AbortSignal): Promise<void>;
}

export function createWorker(options: WorkerOptions): Worker {
  const { clock, log } = options;
  const pool = new SlotScheduler(options);
  return {
    stats: () => pool.stats(),
    async serve(signal) {
      options.listen((reports) => pool.heard(reports));
      const closing = new AbortController();
      const rounds = {
        periodMs: tickMs,
        clock,
        failed: (error: unknown) => log.error("worker round failed", { error: messageOf(error) }),
      };
      await together(
        closing.signal,
        ...pool.sessions.map((session) => (until: AbortSignal) => session.serve(until)),
        (until) => every({ ...rounds, signal: until }, () => pool.tick()),
        async (until) => {
          await Promise.race([aborted(signal), aborted(until)]);
          if (!until.aborted) await pool.drain();
          closing.abort(signal.reason);
        },
      );
      pool.close();
    },
  };
}
