import { limits } from "../tasks/limits.ts";

/**
 * Collects what is added in one turn of the event loop. A message costs both sides about as much as
 * ten results of tasks in it.
 */
export class Batch<T> {
  #parts: T[] = [];

  /** @param send called with all parts, of which there is at least one. */
  constructor(private readonly send: (parts: T[]) => void) {}

  add(part: T): void {
    const count = this.#parts.push(part);
    if (count === 1) queueMicrotask(() => this.flush());
    else if (count === limits.maxResults) this.flush();
  }

  flush(): void {
    if (this.#parts.length === 0) return;
    const parts = this.#parts;
    this.#parts = [];
    this.send(parts);
  }
}
