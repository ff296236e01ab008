import type { Clock } from "./clock.ts";
import type { Log } from "./log.ts";

/** A stream that a person or a program reads. */
export interface Output {
  readonly isTerminal: boolean;
  /** Another program reads it, and may end before we do. */
  readonly isPipe: boolean;
  /** Whether colour and animation are wanted: a terminal, no NO_COLOR, no `--color never`. */
  readonly color: boolean;
  /** Writes everything; rejects when the reader is gone. */
  write(data: string | Uint8Array): Promise<void>;
}

export interface Input {
  readonly isTerminal: boolean;
  /** A pipe or a non-empty file: input that someone provided on purpose. */
  readonly isGiven: boolean;
  readonly readable: ReadableStream<Uint8Array>;
}

/** What the outside world is to a command or role: real in main, fakes in tests. */
export interface Env {
  readonly clock: Clock;
  readonly log: Log;
  /** Data. */
  readonly stdout: Output;
  /** Everything said to a person. */
  readonly stderr: Output;
  readonly stdin: Input;
  /** Environment variables by name; only names of the schema and a fixed list can be read. */
  readonly variable: (name: string) => string | undefined;
  /** Aborts on the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** Root of the user's configuration for `agent`; `/etc/agent` for root. */
  readonly configRoot: string;
  /** Root of the state folders; `/var/lib/agent` for root. */
  readonly stateRoot: string;
}
