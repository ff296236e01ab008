import type { Report } from "../tasks/orders.ts";

/** Tasks shorter than this are over before anyone can look at them. */
const shortMs = 20;

/**
 * Sends reports to the role in batches. While tasks are short, the report of a start waits for the
 * end: that saves a message and an entry in the coordinator's store for each task.
 */
export class Reports implements Disposable {
  #batch: Report[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isQueued = false;
  /** How long the last attempts took; the newest counts an eighth. */
  #meanMs = Infinity;

  constructor(private readonly send: (reports: Report[], transfer: ArrayBuffer[]) => void) {}

  add(report: Report): void {
    this.#batch.push(report);
    if (report.kind === "exited" && report.startedAt !== undefined) {
      const tookMs = report.at - report.startedAt;
      this.#meanMs = this.#meanMs === Infinity
        ? tookMs
        : this.#meanMs + (tookMs - this.#meanMs) / 8;
    }
    if (report.kind === "started" && this.#meanMs < shortMs) {
      this.#timer ??= setTimeout(() => this.#flush(), shortMs);
    } else if (!this.#isQueued) {
      this.#isQueued = true;
      queueMicrotask(() => this.#flush());
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isQueued = false;
    const reports = this.#batch;
    this.#batch = [];
    const transfer: ArrayBuffer[] = [];
    for (const report of reports) {
      if (report.kind !== "output") continue;
      transfer.push(report.data.buffer as ArrayBuffer);
    }
    if (reports.length > 0) this.send(reports, transfer);
  }
}
