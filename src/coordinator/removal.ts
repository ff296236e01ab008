import { aborted } from "../base/lifetimes.ts";
import { baseId } from "../tasks/ids.ts";
import type { Pruned } from "../tasks/service.ts";
import { isFinished } from "../tasks/task.ts";
import type { ArtifactFiles, LogFiles } from "./file_stores.ts";
import type { LeaseTable } from "./lease_table.ts";
import type { Change, FinishedTask, TaskRow } from "./store.ts";

/** Rows that are read in one step: a millisecond or two. */
export const pageSize = 500;

/** Tasks whose removal is under way at a time for one caller: a part of one commit. */
const stepSize = 100;

/**
 * Removes finished tasks. Files go first, then the rows: after a crash in between the task is still
 * there to be removed again, and no file stays behind without its task. It also works on a full disk,
 * where the database has no room before files have gone.
 */
export class Removal {
  readonly stats = { tasks: 0, bytes: 0 };
  readonly #leaseTable: LeaseTable;
  readonly #logs: LogFiles;
  readonly #artifacts: ArtifactFiles;
  /** Ids of tasks whose removal is under way: they cannot be retried. */
  readonly #claimed = new Set<string>();
  /** Rejects when the coordinator stops. */
  readonly #stopped: Promise<never>;

  constructor(
    options: {
      leaseTable: LeaseTable;
      logs: LogFiles;
      artifacts: ArtifactFiles;
      stopping: AbortSignal;
    },
  ) {
    this.#stopped = aborted(options.stopping).then(() => Promise.reject(options.stopping.reason));
    this.#stopped.catch(() => {}); // Nothing may be under way then.
    this.#leaseTable = options.leaseTable;
    this.#logs = options.logs;
    this.#artifacts = options.artifacts;
  }

  isUnderWay(id: string): boolean {
    return this.#claimed.has(id);
  }

  /** Of these rows the finished tasks; an array counts as one task, which ends with its last element. */
  finished(rows: readonly TaskRow[]): FinishedTask[] {
    const { store } = this.#leaseTable;
    const ends = new Map<string, number | undefined>();
    return rows.flatMap((row) => {
      if (row.finishedAt === undefined) return [];
      const array = baseId(row.id);
      if (array === row.id) return [{ ...row, finishedAt: row.finishedAt }];
      if (!ends.has(array)) ends.set(array, store.arrayEnd(array));
      const finishedAt = ends.get(array);
      return finishedAt === undefined ? [] : [{ ...row, finishedAt }];
    });
  }

  /** Leaves out the tasks that were retried meanwhile. */
  async remove(tasks: readonly FinishedTask[]): Promise<Pruned> {
    const removed = { tasks: 0, bytes: 0 };
    for (let at = 0; at < tasks.length; at += stepSize) {
      const sizes = await Promise.all(
        tasks.slice(at, at + stepSize).map((task) => this.#removeOne(task)),
      );
      for (const bytes of sizes) {
        if (bytes === undefined) continue;
        removed.tasks++;
        removed.bytes += bytes;
      }
    }
    return removed;
  }

  /** @returns the bytes of its logs and artifacts; undefined where it was left alone. */
  async #removeOne({ seq, id, attempts }: FinishedTask): Promise<number | undefined> {
    const { commits, store } = this.#leaseTable;
    if (this.#claimed.has(id)) return undefined;
    this.#claimed.add(id);
    try {
      // A retry that was accepted just before: the store does not know of it yet.
      while (commits.locked(id)) await commits.settled();
      const state = store.progress(id)?.state;
      if (state === undefined || !isFinished(state)) return undefined;
      const bytes = store.outputBytes(seq);
      for (let attempt = 1; attempt <= attempts; attempt++) {
        await this.#logs.remove(id, attempt);
        await this.#artifacts.remove(id, attempt);
      }
      await this.#deleted({ kind: "delete", seq, id, state });
      this.stats.tasks++;
      this.stats.bytes += bytes;
      return bytes;
    } finally {
      this.#claimed.delete(id);
    }
  }

  /**
   * Settles when the row is gone. Its files are gone already, so this is not refused where the disk is
   * full, but done as soon as there is room.
   */
  async #deleted(change: Change & { kind: "delete" }): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { id } = change;
    this.#leaseTable.commits.add({ change, task: id, lock: id, done: () => resolve() });
    await Promise.race([promise, this.#stopped]);
  }
}
