import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { OutputStream } from "../tasks/orders.ts";
import { type RunningAttempt, streams } from "./running_attempt.ts";
import type { Spool } from "./spool.ts";

/** Output of which nothing was acknowledged for so long goes to disk. */
const spillAfterMs = 100;

/** A result that was not acknowledged for so long goes to disk. */
const spoolAfterMs = 250;

/**
 * Moves to disk what the network does not take. Without room there tasks wait for the network, and
 * results live in memory alone.
 */
export class DiskSpill {
  /** Told once, not for each piece of output. */
  #failed = false;

  constructor(
    private readonly spool: Spool,
    private readonly log: Log,
    /** The runner may send so much more. */
    private readonly taken: (attempt: RunningAttempt, stream: OutputStream, bytes: number) => void,
  ) {}

  /** What time brings. */
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

  /** Writes down a result for the next start of the worker. */
  save(attempt: RunningAttempt, lease: string): void {
    if (attempt.phase !== "finished" || attempt.spooled || attempt.result?.state === "lost") return;
    this.#write(() => {
      attempt.spool(this.spool, lease);
      return true;
    });
  }

  /** @param write says whether there was anything to write. */
  #write(write: () => boolean): void {
    try {
      if (write()) this.#failed = false;
    } catch (error) {
      if (!this.#failed) this.log.error("cannot write to the spool", { error: messageOf(error) });
      this.#failed = true;
    }
  }
}
