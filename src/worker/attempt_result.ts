import { formatDuration } from "../base/durations.ts";
import { limits } from "../tasks/limits.ts";
import type { Report } from "../tasks/orders.ts";
import type { AttemptRef, AttemptResult, FinishedState, TaskSpec } from "../tasks/task.ts";

export type Exited = Extract<Report, { kind: "exited" }>;

export interface Finish {
  ref: AttemptRef;
  spec: Pick<TaskSpec, "timeoutMs">;
  exited: Pick<Exited, "cause" | "startedAt" | "at" | "exitCode" | "signal" | "reason">;
  /** Further facts for the reason. */
  notes: readonly string[];
  stdoutBytes: number;
  stderrBytes: number;
}

/**
 * How an attempt ended, from how its process ended. A task whose artifact globs matched nothing has
 * still succeeded, with a note: only its exit code says whether it did its work.
 */
export function attemptResult(finish: Finish): AttemptResult {
  const { ref, exited, notes, stdoutBytes, stderrBytes } = finish;
  const reason = [reasonOf(finish), ...notes].filter((line) => line !== undefined).join("; ");
  return {
    ref,
    state: stateOf(exited),
    exitCode: exited.exitCode,
    signal: exited.signal,
    reason: reason === "" ? undefined : reasonLine(reason),
    startedAt: exited.startedAt,
    finishedAt: exited.at,
    stdoutBytes,
    stderrBytes,
  };
}

/** The result in the form that a coordinator accepts. */
export function reasonLine(text: string): string {
  return oneLine(text).slice(0, limits.maxReasonLength);
}

/**
 * Reasons contain names from tasks, with any characters. A coordinator accepts one line of text only, and
 * would refuse the result each time, and everything after it.
 */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, "\ufffd");
}

function stateOf({ cause, exitCode }: Finish["exited"]): FinishedState {
  switch (cause) {
    case "exit":
      return exitCode === 0 ? "succeeded" : "failed";
    case "not_started":
    // Normally it is handed back. Without a connection the coordinator treats it as lost.
    case "host_failed":
      return cause === "not_started" ? "failed" : "lost";
    case "cancelled":
    case "timed_out":
    case "lost":
      return cause;
  }
}

function reasonOf({ exited, spec }: Finish): string | undefined {
  if (exited.reason !== undefined) return exited.reason;
  switch (exited.cause) {
    case "timed_out":
      return `Took longer than its timeout of ${formatDuration(spec.timeoutMs ?? 0)}`;
    case "lost":
      return "The worker ended it, as it could not be sure of its lease any more";
    case "exit":
      if (exited.signal !== undefined) return `Ended by ${exited.signal}`;
      return exited.exitCode === 0 ? undefined : `Exited with code ${exited.exitCode}`;
    default:
      return undefined;
  }
}
