import { UserError } from "../base/errors.ts";
import type { Lease } from "./lease_table.ts";
import { TaskError } from "../tasks/service.ts";
import type { AttemptRef } from "../tasks/task.ts";

/**
 * Finds the lease that a caller at the address `from` may upload for.
 *
 * @throws {TaskError} where there is none.
 */
export type LeaseFor = (ref: AttemptRef, from: string) => Lease;

/**
 * The writes of one upload, in the order in which they came, while its lease lives and until a newer
 * stream takes over. The wire need not wait for one before it hands on the next.
 */
export class UploadQueue implements AsyncDisposable {
  #closed = false;
  #last: Promise<void> = Promise.resolve();

  constructor(
    readonly lease: Lease,
    readonly writer: AsyncDisposable,
    /** Called once, when nothing more is taken. */
    readonly close: () => void,
  ) {}

  run(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(async () => {
      if (this.#closed) throw new TaskError("conflict", "A newer stream took over this upload");
      if (!this.lease.live) throw lostLease(this.lease.ref);
      try {
        await work();
      } catch (error) {
        throw storageError(error);
      }
    });
    this.#last = done.catch(() => {});
    return done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.close();
    await this.#last;
    await this.writer[Symbol.asyncDispose]();
  }
}

export function lostLease(ref: AttemptRef): TaskError {
  return new TaskError(
    "conflict",
    `Attempt ${ref.attempt} of task ${ref.taskId.slice(0, 100)} is not running any more`,
  );
}

export function storageError(error: unknown): unknown {
  if (!(error instanceof UserError) || error.code !== "disk_full") return error;
  return new TaskError("exhausted", error.message, undefined, { cause: error });
}
