import type { CoordinatorSession } from "./coordinator_session.ts";
import type { RunningAttempt } from "./running_attempt.ts";

/** Delay before the first output is sent: most tasks end earlier, and need no upload while they run. */
const delayMs = 50;

/** Starts the delivery of attempts a moment after their first output. */
export class FirstOutput implements Disposable {
  readonly #waiting = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param started finds an attempt that the runner knows, by its key. */
  constructor(
    private readonly started: (
      key: string,
    ) => { attempt: RunningAttempt; session: CoordinatorSession } | undefined,
  ) {}

  /** Called with each output; does nothing after the first. */
  add(attempt: RunningAttempt): void {
    if (attempt.toldOutput) return;
    this.#waiting.add(attempt.key);
    this.#timer ??= setTimeout(() => this.#deliver(), delayMs);
  }

  #deliver(): void {
    this.#timer = undefined;
    for (const key of this.#waiting) {
      const entry = this.started(key);
      if (entry?.attempt.phase !== "running") continue;
      entry.attempt.toldOutput = true;
      entry.session.deliver(entry.attempt);
    }
    this.#waiting.clear();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
