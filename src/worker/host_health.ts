import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { backoffMs } from "../base/retry.ts";

/** The runner reports each second that it works. Without a report for this time it counts as hanging. */
const runnerSilenceMs = 3_000;

/** A pause of the worker's own thread counts at most this much: reports wait during the pause. */
const longestStepMs = 500;

/** Pause before the next test whether tasks can be started again. */
const retest = { firstMs: 1_000, factor: 2, longestMs: 30_000 };

/** A test without an answer in this time has failed; it may wait for a disk that hangs. */
const testMs = 30_000;

export interface HostHealthOptions {
  /** Asks the runner for a test. Its answer is passed to `tested`. */
  test: () => void;
  /** Called when the trouble has changed or gone. */
  changed: () => void;
  clock: Clock;
  log: Log;
  random: () => number;
}

/**
 * Whether this host can run tasks. After a start that failed because of the host, the worker takes
 * no work until a test has succeeded; and while the runner does not answer, no lease is renewed.
 */
export class HostHealth {
  #silentMs = 0;
  #tickedAt: number;
  #problem: string | undefined;
  #failures = 0;
  #testAt = Infinity;

  constructor(private readonly options: HostHealthOptions) {
    this.#tickedAt = options.clock.monotonic();
  }

  /** Whether the runner works, as far as it is known. */
  get answers(): boolean {
    return this.#silentMs < runnerSilenceMs;
  }

  /** Why no task can be started now, in one line; undefined if one can. */
  get trouble(): string | undefined {
    return this.answers ? this.#problem : "The runner of this worker does not answer";
  }

  alive(): void {
    this.#silentMs = 0;
  }

  /** Called when the host could not start a task. */
  failed(problem: string): void {
    const isNew = this.#problem === undefined;
    this.#problem = problem;
    if (!isNew) return;
    this.options.log.error("cannot start tasks, taking no work", { error: problem });
    this.#planTest();
    this.options.changed();
  }

  tested(problem: string | undefined): void {
    if (this.#problem === undefined) return;
    if (problem !== undefined) {
      this.#problem = `Cannot start tasks: ${problem}`;
      return this.#planTest();
    }
    this.#problem = undefined;
    this.#failures = 0;
    this.#testAt = Infinity;
    this.options.log.info("tasks can be started again");
    this.options.changed();
  }

  /** Called every 100 ms: starts the tests that are due. */
  tick(): void {
    const now = this.options.clock.monotonic();
    this.#silentMs += Math.min(now - this.#tickedAt, longestStepMs);
    this.#tickedAt = now;
    if (now < this.#testAt) return;
    this.#testAt = now + testMs;
    this.options.test();
  }

  #planTest(): void {
    const { clock, random } = this.options;
    this.#testAt = clock.monotonic() + backoffMs(retest, ++this.#failures, random());
  }
}
