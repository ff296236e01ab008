/** Keeps the shown part of a log current: reads a stretch, then follows while the page is seen. */
import { signal } from "@preact/signals";
import { type Problem, problemOf } from "../node_api.ts";
import { follow, type LogRequest, readStretch } from "./log_source.ts";
import { LogText } from "./log_text.ts";

export type LogState = "loading" | "live" | "waiting" | "ended";

/** Redraws a few times a second, however fast the task writes. */
const redrawMs = 60;
const retryMs = { first: 1_000, longest: 10_000 };

export class LogReader {
  /** Grows with every change of `text`. */
  readonly version = signal(0);
  readonly state = signal<LogState>("loading");
  readonly problem = signal<Problem | undefined>(undefined);
  text = new LogText();
  #redraw: ReturnType<typeof setTimeout> | undefined;

  /** @param isOver the attempt has ended: one read is enough. */
  async read(request: LogRequest, isOver: boolean, signal: AbortSignal): Promise<void> {
    const isDone = await this.#retried(signal, async () => {
      const text = await readStretch(request, signal);
      this.text = text;
      this.#changed();
    });
    if (!isDone) return;
    if (!isOver && request.from === "end") {
      await this.#retried(signal, async () => {
        await seen(signal);
        // A hidden tab closes its connection: a browser allows six to one host.
        const leaves = whenHidden(signal);
        this.state.value = "live";
        try {
          await follow(this.text, request, () => this.#changed(), leaves);
        } catch (error) {
          if (!leaves.aborted) throw error;
        }
        return !leaves.aborted || signal.aborted;
      });
    }
    if (!signal.aborted) this.state.value = "ended";
  }

  /** Repeats `run` until it resolves to something other than false, or the signal aborts. */
  async #retried(signal: AbortSignal, run: () => Promise<void | boolean>): Promise<boolean> {
    for (let failures = 0; !signal.aborted;) {
      try {
        const isDone = await run();
        this.problem.value = undefined;
        if (isDone !== false) return !signal.aborted;
      } catch (error) {
        if (signal.aborted) return false;
        const problem = problemOf(error);
        this.problem.value = problem;
        this.state.value = "waiting";
        // A 4xx answer stays the same; a failed connection may recover.
        if (problem.status >= 400 && problem.status < 500) return false;
        const waitMs = Math.min(retryMs.first * 2 ** failures++, retryMs.longest);
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    }
    return false;
  }

  #changed(): void {
    this.problem.value = undefined;
    if (this.#redraw !== undefined) return;
    this.#redraw = setTimeout(() => {
      this.#redraw = undefined;
      this.version.value++;
    }, redrawMs);
  }
}

/** Settles when the page is on the screen. */
function seen(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (document.visibilityState !== "visible" && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
    look();
  });
}

/** Aborts when the page leaves the screen, or with the signal. */
function whenHidden(signal: AbortSignal): AbortSignal {
  const leaves = new AbortController();
  const leave = () => {
    if (document.visibilityState === "visible" && !signal.aborted) return;
    document.removeEventListener("visibilitychange", leave);
    signal.removeEventListener("abort", leave);
    leaves.abort();
  };
  document.addEventListener("visibilitychange", leave);
  signal.addEventListener("abort", leave);
  leave();
  return leaves.signal;
}
