import type { Env } from "../../base/env.ts";
import { aborted } from "../../base/lifetimes.ts";
import { pause } from "./terminal_view.ts";

/** Lines on stdout for as long as something reads them. */
export interface LineStream extends AsyncDisposable {
  write(line: string): Promise<void>;
  /** Rejects if the reader closes the pipe while there is nothing to write. */
  closed: Promise<void>;
}

/** How long a closed pipe may go unnoticed. */
const probeMs = 2_000;

/**
 * A closed pipe is noticed only on writing, so an idle stream of JSON writes a space now and then,
 * which means nothing before an object (RFC 8259, section 2).
 */
export function lineStream(env: Env, json: boolean): LineStream {
  const over = new AbortController();
  let wroteAt = env.clock.monotonic();
  let last = Promise.resolve();
  const write = (text: string) => {
    wroteAt = env.clock.monotonic();
    last = last.then(() => env.stdout.write(text));
    return last;
  };
  const probe = async () => {
    while (!over.signal.aborted) {
      await pause(env, probeMs, over.signal);
      const rests = env.clock.monotonic() - wroteAt >= probeMs;
      if (rests && !over.signal.aborted) await write(" ");
    }
  };
  const closed = json && env.stdout.isPipe ? probe() : aborted(over.signal);
  closed.catch(() => {/* Reported to the caller, if it still waits. */});
  return {
    write,
    closed,
    async [Symbol.asyncDispose]() {
      over.abort();
      await last.catch(() => {/* Reported to the caller of write. */});
    },
  };
}
