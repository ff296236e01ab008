import type { Report } from "../tasks/orders.ts";

/** Tasks shorter than this are over before anyone can look at them. */
const shortMs = 20;

/**
 * While tasks are short, an end waits this long for others, unless so many wait already. Each message
 * costs both threads, and the coordinator, about as much as five ends in it.
 */
const together = { ms: 2, ends: 4 };

/**
 * Sends reports to the role in batches. While tasks are short, the report of a start waits for the
 * end: that saves a message and an entry in the coordinator's store for each task.
 */
export class Reports implements Disposable {
  #batch: Report[] = [];
  #ends = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = Infinity;
  /** How long the last attempts took; the newest counts an eighth. */
  #meanMs = Infinity;

  constructor(private readonly send: (reports: Report[], transfer: ArrayBuffer[]) => void) {}

  add(report: Report): void {
    this.#batch.push(report);
    if (report.kind === "exited") {
      this.#ends++;
      if (report.startedAt !== undefined) this.#measure(report.at - report.startedAt);
    }
    this.#flushWithin(this.#patienceMs(report));
  }

  #measure(tookMs: number): void {
    this.#meanMs = this.#meanMs === Infinity ? tookMs : this.#meanMs + (tookMs - this.#meanMs) / 8;
  }

  #patienceMs({ kind }: Report): number {
    if (this.#meanMs >= shortMs) return 0;
    if (kind === "started") return shortMs;
    return this.#ends < together.ends && (kind === "exited" || kind === "output") ? together.ms : 0;
  }

  #flushWithin(ms: number): void {
    const due = ms === 0 ? 0 : performance.now() + ms;
    if (due >= this.#due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    if (ms === 0) queueMicrotask(() => this.#flush());
    else this.#timer = setTimeout(() => this.#flush(), ms);
  }

  /** Sends what waits. */
  [Symbol.dispose](): void {
    this.#flush();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#due = Infinity;
    this.#ends = 0;
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
