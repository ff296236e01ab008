import { baseId } from "../tasks/ids.ts";
import { TaskError } from "../tasks/service.ts";

/** A watcher that is this many tasks behind is not reading any more; they take about 10 MB. */
const mostUnseen = 100_000;

/** Tells those who wait that something about a task has changed. */
export class ChangeFeed {
  readonly #subscriptions = new Map<string, Set<Subscription>>();
  readonly #all = new Set<Subscription>();

  /** For tasks, or for all elements of arrays by the array's id; without ids for all tasks. */
  subscribe(ids?: readonly string[]): Subscription {
    const subscription = new Subscription(() => {
      this.#all.delete(subscription);
      for (const id of ids ?? []) {
        const set = this.#subscriptions.get(id);
        set?.delete(subscription);
        if (set?.size === 0) this.#subscriptions.delete(id);
      }
    });
    if (ids === undefined) this.#all.add(subscription);
    for (const id of ids ?? []) {
      const set = this.#subscriptions.get(id);
      if (set === undefined) this.#subscriptions.set(id, new Set([subscription]));
      else set.add(subscription);
    }
    return subscription;
  }

  tell(id: string): void {
    for (const subscription of this.#all) subscription.add(id);
    if (this.#subscriptions.size === 0) return;
    for (const subscription of this.#subscriptions.get(id) ?? []) subscription.add(id);
    const base = baseId(id);
    if (base === id) return;
    for (const subscription of this.#subscriptions.get(base) ?? []) subscription.add(id);
  }
}

/** Ids that have changed and were not yet looked at; each once, however often it changed. */
export class Subscription implements Disposable {
  #changed = new Set<string>();
  #wake: (() => void) | undefined;
  readonly #close: () => void;

  constructor(close: () => void) {
    this.#close = close;
  }

  add(id: string): void {
    if (this.#changed.size <= mostUnseen) this.#changed.add(id);
    this.#wake?.();
  }

  /** What has changed since the last time; take it before looking, so that nothing is missed. */
  take(): Set<string> {
    if (this.#changed.size > mostUnseen) {
      throw new TaskError("exhausted", `More than ${mostUnseen} tasks changed and were not read`);
    }
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  /** Settles when there is something to take, or the signal aborts. */
  wait(signal: AbortSignal): Promise<void> {
    if (this.#changed.size > 0 || signal.aborted) return Promise.resolve();
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
