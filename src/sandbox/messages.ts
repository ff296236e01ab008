import { type ErrorFacts, UserError } from "../base/errors.ts";

/** What the main thread says to a thread: `start` once and first. */
export type ToThread =
  | { kind: "start"; init: unknown }
  | { kind: "stop"; signal: StopSignal };

/** What a thread says: one of these, once, as its last word. */
export type FromThread =
  | { kind: "ended"; exit: number }
  | { kind: "failed"; facts: ErrorFacts };

export type StopSignal = "SIGINT" | "SIGTERM";

/** The reason of an aborted `env.signal`. */
export class Stopped extends UserError {
  override name = "Stopped";
  constructor(readonly signal: StopSignal) {
    super(`Stopped by ${signal}`, { code: "stopped" });
  }
}
