/**
 * Server-sent events (WHATWG HTML, section 9.2) for any number of readers, resumable by id. Only the
 * newest event of each topic is kept, within limits, and all readers read from this one store: a slow
 * reader costs no memory, and misses only events that a newer one has replaced.
 */
import type { ServerResponse } from "node:http";
import { writePiece } from "./stream.ts";

interface Kept {
  id: number;
  name: string;
  data: string;
}

/** A comment in this interval keeps proxies from closing the connection, and reveals closed ones. */
const commentMs = 15_000;
/** Maximum number of topics; most are tasks. */
const maxTopics = 2_000;
/** Characters of all kept events: of 2,000 ordinary tasks many times; one task may have 1 MB alone. */
const maxKept = 16 * 1024 * 1024;

export class EventLog {
  /** Oldest first. */
  readonly #kept = new Map<string, Kept>();
  readonly #run: string;
  readonly #wake = new Set<() => void>();
  /** Called when a reader has come. */
  readonly #awaited = new Set<() => void>();
  #last = 0;
  /** Characters of all kept events. */
  #size = 0;
  /** Events up to this one may have been dropped. */
  #floor = 0;
  #readers = 0;
  #closed = false;

  /** @param run random: ids of another run are not known here. */
  constructor(run: string) {
    this.#run = run;
  }

  get readers(): number {
    return this.#readers;
  }

  /** Settles with true when someone reads, with false when the signal aborts before. */
  async isRead(signal: AbortSignal): Promise<boolean> {
    while (this.#readers === 0 && !signal.aborted) await this.#opened(signal);
    return !signal.aborted;
  }

  #opened(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const settle = () => {
        signal.removeEventListener("abort", settle);
        this.#awaited.delete(settle);
        resolve();
      };
      this.#awaited.add(settle);
      signal.addEventListener("abort", settle, { once: true });
    });
  }

  /** @param topic a later event of the same topic replaces this one. */
  publish(topic: string, name: string, data: unknown): void {
    this.#drop(topic);
    const kept = { id: ++this.#last, name, data: JSON.stringify(data) };
    this.#kept.set(topic, kept);
    this.#size += kept.data.length;
    for (const [oldest, { id }] of this.#kept) {
      if (this.#kept.size <= maxTopics && this.#size <= maxKept) break;
      this.#drop(oldest);
      this.#floor = id;
    }
    this.#notify();
  }

  #drop(topic: string): void {
    this.#size -= this.#kept.get(topic)?.data.length ?? 0;
    this.#kept.delete(topic);
  }

  /** Tells all readers that they missed events, also those that have read all there are. */
  reset(): void {
    this.#floor = ++this.#last;
    this.#notify();
  }

  /** Ends all streams. */
  close(): void {
    this.#closed = true;
    this.#notify();
  }

  /**
   * Serves one reader until it disconnects or the log is closed.
   *
   * @param lastId `Last-Event-ID` of a reader that reconnects.
   * @param current the first events of a new reader.
   */
  async serve(
    response: ServerResponse,
    lastId: string | undefined,
    current: () => { name: string; data: unknown }[],
  ): Promise<void> {
    response.writeHead(200, {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      // nginx would buffer events.
      "x-accel-buffering": "no",
      "x-content-type-options": "nosniff",
    });
    this.#readers++;
    for (const settle of [...this.#awaited]) settle();
    try {
      let isOpen = await writePiece(response, ": open\n\n");
      let at = this.#known(lastId);
      if (at === undefined) {
        const isBack = lastId !== undefined;
        at = this.#last;
        if (isBack) isOpen = await this.#send(response, { id: at, name: "reset", data: "{}" });
        for (const { name, data } of current()) {
          isOpen = await this.#send(response, { id: at, name, data: JSON.stringify(data) });
        }
      }
      while (isOpen && !this.#closed) {
        if (at < this.#floor) {
          at = this.#last;
          isOpen = await this.#send(response, { id: at, name: "reset", data: "{}" });
          continue;
        }
        const next = this.#after(at);
        if (next !== undefined) {
          isOpen = await this.#send(response, next);
          at = next.id;
          continue;
        }
        const changed = await this.#changed(response);
        if (response.destroyed) return;
        if (changed) continue;
        isOpen = await writePiece(response, ":\n\n");
      }
    } finally {
      this.#readers--;
      response.end();
    }
  }

  #send(response: ServerResponse, { id, name, data }: Kept): Promise<boolean> {
    return writePiece(response, `id: ${this.#run}-${id}\nevent: ${name}\ndata: ${data}\n\n`);
  }

  #after(at: number): Kept | undefined {
    // The map is in the order of ids.
    for (const kept of this.#kept.values()) if (kept.id > at) return kept;
    return undefined;
  }

  /** The number of an id of this run. */
  #known(lastId: string | undefined): number | undefined {
    const [run, number] = lastId?.split("-") ?? [];
    const at = Number(number);
    return run === this.#run && Number.isInteger(at) && at >= 0 && at <= this.#last
      ? at
      : undefined;
  }

  /** Settles with true at the next event or at the reader's end, with false when nothing happens. */
  #changed(response: ServerResponse): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (result: boolean) => {
        clearTimeout(timer);
        this.#wake.delete(wake);
        response.off("close", wake);
        resolve(result);
      };
      const wake = () => settle(true);
      const timer = setTimeout(() => settle(false), commentMs);
      this.#wake.add(wake);
      response.once("close", wake);
      if (response.destroyed) wake();
    });
  }

  #notify(): void {
    for (const wake of [...this.#wake]) wake();
  }
}
