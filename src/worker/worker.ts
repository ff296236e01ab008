import { messageOf } from "../base/errors.ts";
import { aborted, every, together } from "../base/lifetimes.ts";
import { SlotScheduler } from "./slot_scheduler.ts";
import type { WorkerStats } from "./worker_stats.ts";
import type { WorkerOptions } from "./worker_options.ts";

/** How often things that only depend on time are checked, with attempts and without. */
const tickMs = { busy: 100, idle: 500 };

export interface Worker {
  stats(): WorkerStats;
  /**
   * Keeps sessions with all coordinators and runs what they assign, in slots that they share. When
   * the signal aborts it takes no more work, hands back attempts that have not started, lets running
   * tasks continue for a while, then ends them and reports them as lost, so that others get them at once.
   * Told to retire by the runner, it takes no more work and returns when no task runs.
   */
  serve(signal: AbortSignal): Promise<void>;
}

export function createWorker(options: WorkerOptions): Worker {
  const { clock, log } = options;
  const scheduler = new SlotScheduler(options);
  return {
    stats: () => scheduler.stats(),
    async serve(signal) {
      options.listen((reports) => scheduler.heard(reports));
      const closing = new AbortController();
      const rounds = {
        periodMs: () => scheduler.isIdle ? tickMs.idle : tickMs.busy,
        coarse: true,
        clock,
        failed: (error: unknown) => log.error("worker round failed", { error: messageOf(error) }),
      };
      await together(
        closing.signal,
        ...scheduler.sessions.map((session) => (until: AbortSignal) => session.serve(until)),
        (until) => every({ ...rounds, signal: until }, () => scheduler.tick()),
        async (until) => {
          await Promise.race([aborted(signal), aborted(until), scheduler.retired]);
          if (!until.aborted) await scheduler.drain();
          closing.abort(signal.reason);
        },
      );
      scheduler.close();
    },
  };
}
