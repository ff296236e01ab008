import { messageOf } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { DiskSpace } from "./disk_space.ts";
import { isExpired } from "./policy.ts";
import { pageSize, type Removal } from "./removal.ts";
import type { TaskStore } from "./store.ts";

/** Tasks between two looks at the free space: each may hold gigabytes. */
const stepSize = 20;

/** Pause after all tasks were looked at: ages are counted in days, but a full disk stops all work. */
const restMs = { enough: 60_000, low: 60_000, none: 5_000 };

export interface RetentionOptions {
  store: TaskStore;
  removal: Removal;
  space: DiskSpace;
  clock: Clock;
  log: Log;
  /** Age at which finished tasks are removed (`coordinator.retention`). */
  keepMs: number;
  stopping: AbortSignal;
}

/**
 * Removes finished tasks by their age, and the oldest where the disk has little room. Goes through the
 * tasks in the order of submission, a page at a time, so that millions of them hold up nothing.
 */
export class Retention {
  readonly #options: RetentionOptions;
  #cursor = 0;
  #restUntil = -Infinity;
  #round: Promise<void> | undefined;

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  /** Begins the next step, where one is due. To be called often. */
  tend(): void {
    const { clock, log, stopping } = this.#options;
    if (this.#round !== undefined || clock.monotonic() < this.#restUntil) return;
    this.#round = this.#step().catch((error) => {
      this.#rest();
      if (stopping.aborted) return;
      log.error("finished tasks cannot be removed", { reason: messageOf(error) });
    }).finally(() => this.#round = undefined);
  }

  /** Settles when no step is under way. */
  async idle(): Promise<void> {
    await this.#round;
  }

  async #step(): Promise<void> {
    const { store, clock, space, keepMs } = this.#options;
    const page = store.page(this.#cursor, pageSize);
    await this.#removeFrom(page);
    const last = page.at(-1);
    this.#cursor = last?.seq ?? 0;
    // By age alone, those that follow are too young.
    const isPast = space.level === "enough" && (last?.submittedAt ?? 0) > clock.now() - keepMs;
    if (page.length === pageSize && !isPast) return;
    this.#cursor = 0;
    if (!store.shrink()) this.#rest();
  }

  #rest(): void {
    const { clock, space } = this.#options;
    this.#restUntil = clock.monotonic() + restMs[space.level];
  }

  async #removeFrom(page: ReturnType<TaskStore["page"]>): Promise<void> {
    const { removal, space, clock, keepMs, log, stopping } = this.#options;
    const now = clock.now();
    const isDue = ({ finishedAt }: { finishedAt: number }) =>
      isExpired({ ageMs: now - finishedAt, keepMs, level: space.level });
    const removed = { tasks: 0, bytes: 0 };
    const { level } = space;
    const due = removal.finished(page).filter(isDue);
    for (let at = 0; at < due.length && !stopping.aborted; at += stepSize) {
      // Once there is room again, only those that are too old go.
      const part = await removal.remove(due.slice(at, at + stepSize).filter(isDue));
      removed.tasks += part.tasks;
      removed.bytes += part.bytes;
      space.freed();
    }
    if (removed.tasks === 0) return;
    const reason = level === "enough" ? "age" : "little free space";
    log.info("finished tasks removed", { ...removed, reason });
  }
}
