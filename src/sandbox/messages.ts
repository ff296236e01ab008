import { type ErrorFacts, UserError } from "../base/errors.ts";

/**
 * Messages from the main thread to a thread: `start` is the first, and comes once. At `idle` the thread
 * collects its garbage.
 */
export type ToThread =
  | { kind: "start"; init: unknown }
  | { kind: "idle" }
  | { kind: "stop"; signal: StopSignal };

/** The last message of a thread: one of these, once. */
export type FromThread =
  | { kind: "ended"; exit: number }
  | { kind: "failed"; facts: ErrorFacts };

export type StopSignal = "SIGINT" | "SIGTERM" | "SIGHUP";

/** The reason of an aborted `env.signal`. */
export class Stopped extends UserError {
  override name = "Stopped";
  constructor(readonly signal: StopSignal) {
    super(`Stopped by ${signal}`, { code: "stopped" });
  }
}
