import { Subscription } from "./change_feed.ts";

/** Tells watchers which keys of a namespace have changed. */
export class StateFeed {
  readonly #watchers = new Map<string, Set<Subscription>>();

  subscribe(namespace: string): Subscription {
    const watchers = this.#watchers.get(namespace) ?? new Set();
    this.#watchers.set(namespace, watchers);
    const subscription = new Subscription(() => {
      watchers.delete(subscription);
      if (watchers.size === 0) this.#watchers.delete(namespace);
    });
    watchers.add(subscription);
    return subscription;
  }

  tell(namespace: string, key: string): void {
    for (const subscription of this.#watchers.get(namespace) ?? []) subscription.add([key]);
  }
}
