import { errorFacts } from "../base/errors.ts";
import { releaseThread } from "../base/idle_memory.ts";
import { type FromThread, Stopped, type ToThread } from "./messages.ts";

/** The part of a worker's global scope that is used; its own lib would clash with the window's. */
interface Scope {
  onmessage: ((event: MessageEvent<ToThread>) => void) | null;
  postMessage(message: FromThread): void;
  addEventListener(
    type: "error" | "unhandledrejection",
    listener: (event: ErrorEvent & PromiseRejectionEvent) => void,
  ): void;
}

/**
 * The code inside a thread: runs `serve` with the data of the main thread, and reports its end. A stopped
 * run is reported with the code "stopped". `Deno.exit` must not be called in a thread: the
 * main thread would wait forever.
 */
export function serveThread<Init>(
  serve: (init: Init, signal: AbortSignal) => Promise<number>,
): void {
  const scope = globalThis as unknown as Scope;
  const stop = new AbortController();
  const failed = (thrown: unknown) =>
    scope.postMessage({ kind: "failed", facts: errorFacts(thrown) });
  scope.addEventListener("error", (event) => {
    event.preventDefault();
    failed(event.error ?? event.message);
  });
  scope.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    if (event.reason !== stop.signal.reason || !stop.signal.aborted) failed(event.reason);
  });
  scope.onmessage = async ({ data }) => {
    if (data.kind === "idle") return releaseThread();
    if (data.kind === "stop") return stop.abort(new Stopped(data.signal));
    try {
      scope.postMessage({ kind: "ended", exit: await serve(data.init as Init, stop.signal) });
    } catch (error) {
      failed(error);
    }
  };
}
