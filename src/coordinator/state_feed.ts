import { TaskError } from "../tasks/service.ts";
import { Subscription } from "./change_feed.ts";

/** Watchers of all namespaces; telling a change to that many takes a few milliseconds. */
const maxWatchers = 20_000;

/** Tells watchers which keys of a namespace have changed. */
export class StateFeed {
  readonly #watchers = new Map<string, Set<Subscription>>();
  #count = 0;

  /** @throws {TaskError} `exhausted` if there are too many watchers already. */
  subscribe(namespace: string): Subscription {
    if (this.#count >= maxWatchers) {
      throw new TaskError("exhausted", `More than ${maxWatchers} callers watch state; try later`);
    }
    const watchers = this.#watchers.get(namespace) ?? new Set();
    this.#watchers.set(namespace, watchers);
    const subscription = new Subscription(() => {
      if (!watchers.delete(subscription)) return;
      this.#count--;
      if (watchers.size === 0) this.#watchers.delete(namespace);
    });
    watchers.add(subscription);
    this.#count++;
    return subscription;
  }

  tell(namespace: string, key: string): void {
    for (const subscription of this.#watchers.get(namespace) ?? []) subscription.add([key]);
  }
}
