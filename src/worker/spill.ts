import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { OutputStream } from "../tasks/orders.ts";
import { type RunningAttempt, streams } from "./running_attempt.ts";
import type { Spool } from "./spool.ts";

/** Output goes to disk if nothing of it is acknowledged for this long. */
const spillAfterMs = 100;

/** A result goes to disk if it is not acknowledged for this long. */
const spoolAfterMs = 250;

/**
 * Moves output and results to disk that cannot be delivered now. Without space there, tasks wait for
 * the network, and results are only in memory.
 */
export class DiskSpill {
  /** Logged once, not for each piece of output. */
  #failed = false;

  constructor(
    private readonly spool: Spool,
    private readonly log: Log,
    /** The runner may send this many bytes more. */
    private readonly taken: (attempt: RunningAttempt, stream: OutputStream, bytes: number) => void,
  ) {}

  /** Called regularly for each attempt. */
  tick(attempt: RunningAttempt, lease: string, now: number): void {
    if (attempt.phase === "finished" && now - attempt.finishedAt > spoolAfterMs) {
      this.save(attempt, lease);
    }
    if (attempt.phase !== "running") return;
    for (const stream of streams) {
      this.#write(() => {
        const bytes = attempt.outputs[stream].relieve(now, spillAfterMs);
        if (bytes > 0) this.taken(attempt, stream, bytes);
        return bytes > 0;
      });
    }
  }

  /** Saves a result for the next start of the worker. */
  save(attempt: RunningAttempt, lease: string): void {
    if (attempt.phase !== "finished" || attempt.spooled || attempt.result?.state === "lost") return;
    this.#write(() => {
      attempt.spool(this.spool, lease);
      return true;
    });
  }

  /** @param write returns whether there was anything to write. */
  #write(write: () => boolean): void {
    try {
      if (write()) this.#failed = false;
    } catch (error) {
      if (!this.#failed) this.log.error("cannot write to the spool", { error: messageOf(error) });
      this.#failed = true;
    }
  }
}
