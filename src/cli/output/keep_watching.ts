import type { Env } from "../../base/env.ts";
import { retryWhileUnavailable } from "../../client/follow.ts";
import { pause } from "./terminal_view.ts";

/** From the end of one step to the next: what is asked again and again, or a stream that a server ended. */
const pauseMs = 1_000;

/** Repeats a step of a command that watches, until the signal aborts; waits for coordinators that are away. */
export async function keepWatching(env: Env, step: () => Promise<void>): Promise<void> {
  const retry = retryWhileUnavailable({
    ...env,
    silent: (error) => env.log.warn("waiting for the coordinator", { reason: error.message }),
  });
  while (!env.signal.aborted) {
    await retry(step);
    await pause(env, pauseMs, env.signal);
  }
}
