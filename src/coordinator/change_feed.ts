import { baseId } from "../tasks/ids.ts";
import { TaskError } from "../tasks/service.ts";

/**
 * A watcher that is this many tasks behind has stopped reading; their ids take about 5 MB. Twice as many
 * changes are kept before they are reduced to distinct tasks.
 */
const maxUnseenTasks = 50_000;

/**
 * Maximum number of watched ids, counted once for each watcher. An entry takes about 100 bytes, and
 * announcing a batch in which all of them change takes 20 ms.
 */
const maxWatched = 200_000;

/** Tells watchers that tasks have changed. */
export class ChangeFeed {
  readonly #subscriptions = new Map<string, Set<Subscription>>();
  readonly #all = new Set<Subscription>();
  #watched = 0;

  /**
   * Watches tasks, or all elements of an array by the array's id; without ids all tasks.
   *
   * @param also how many more entries of about the same size the watcher keeps.
   * @throws {TaskError} `exhausted` if there are too many watchers already.
   */
  subscribe(ids?: readonly string[], also = 0): Subscription {
    const distinct = [...new Set(ids)];
    const entries = distinct.length + also;
    if (this.#watched + entries > maxWatched) {
      throw new TaskError(
        "exhausted",
        `More than ${maxWatched} tasks are being watched; try later`,
      );
    }
    this.#watched += entries;
    const subscription = new Subscription(() => {
      this.#watched -= entries;
      this.#all.delete(subscription);
      for (const id of distinct) {
        const set = this.#subscriptions.get(id);
        set?.delete(subscription);
        if (set?.size === 0) this.#subscriptions.delete(id);
      }
    });
    if (ids === undefined) this.#all.add(subscription);
    for (const id of distinct) {
      const set = this.#subscriptions.get(id);
      if (set === undefined) this.#subscriptions.set(id, new Set([subscription]));
      else set.add(subscription);
    }
    return subscription;
  }

  /** Announces the changes of one batch. Watchers of an array get all its elements at once. */
  tell(ids: readonly string[]): void {
    for (const subscription of this.#all) subscription.add(ids);
    if (this.#subscriptions.size === 0) return;
    const elements = new Map<string, string[]>();
    for (const id of ids) {
      const own = this.#subscriptions.get(id);
      if (own !== undefined) { for (const subscription of own) subscription.add([id]); }
      const base = baseId(id);
      if (base === id || !this.#subscriptions.has(base)) continue;
      const known = elements.get(base);
      if (known === undefined) elements.set(base, [id]);
      else known.push(id);
    }
    for (const [base, changed] of elements) {
      for (const subscription of this.#subscriptions.get(base)!) subscription.add(changed);
    }
  }
}

/** The ids that have changed since they were last taken. */
export class Subscription implements Disposable {
  #changed: (readonly string[])[] = [];
  /** Changes in `#changed`. */
  #unseen = 0;
  #isTooLate = false;
  #wake: (() => void) | undefined;
  readonly #close: () => void;

  constructor(close: () => void) {
    this.#close = close;
  }

  add(ids: readonly string[]): void {
    const last = this.#changed.at(-1);
    // A task with much output is announced many times in a row.
    const isKnown = ids.length === 1 && last?.length === 1 && last[0] === ids[0];
    if (!this.#isTooLate && !isKnown) {
      this.#changed.push(ids);
      this.#unseen += ids.length;
      if (this.#unseen > 2 * maxUnseenTasks) this.#compact();
    }
    this.#wake?.();
  }

  #compact(): void {
    const distinct = [...new Set(this.#changed.flat())];
    this.#isTooLate = distinct.length > maxUnseenTasks;
    this.#changed = this.#isTooLate ? [] : [distinct];
    this.#unseen = distinct.length;
  }

  /** The ids that changed since the last call. Call it before reading the tasks: no change is missed. */
  take(): Set<string> {
    if (this.#isTooLate) {
      throw new TaskError(
        "exhausted",
        `More than ${maxUnseenTasks} tasks changed and were not read`,
      );
    }
    const changed = new Set(this.#changed.flat());
    this.#changed = [];
    this.#unseen = 0;
    return changed;
  }

  /** Resolves when there are ids to take, or the signal aborts. */
  wait(signal: AbortSignal): Promise<void> {
    if (this.#unseen > 0 || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        this.#wake = undefined;
        signal.removeEventListener("abort", end);
        resolve();
      };
      this.#wake = end;
      signal.addEventListener("abort", end);
    });
  }

  [Symbol.dispose](): void {
    this.#close();
  }
}
