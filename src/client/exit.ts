import { constants } from "node:os";
import type { Attempt, Task } from "../tasks/task.ts";

/** Exit codes of commands that follow a task, for ends without an exit code. */
export const followExit = {
  /** As `timeout(1)` exits. */
  timedOut: 124,
  lost: 125,
  cancelled: 130,
  /** As a shell reports SIGINT. */
  detached: 130,
  /** As a shell reports SIGPIPE: the output was closed before the task ended. */
  outputClosed: 141,
} as const;

/** The attempt whose end is the task's: the newest one that was not superseded. */
function decidingAttempt(task: Task): Attempt | undefined {
  return task.attempts.findLast((attempt) => !attempt.superseded);
}

/** The exit code of a command that followed this finished task. */
export function taskExit(task: Task): number {
  if (task.state === "succeeded") return 0;
  if (task.state === "timed_out") return followExit.timedOut;
  if (task.state === "cancelled") return followExit.cancelled;
  if (task.state === "lost") return followExit.lost;
  const last = decidingAttempt(task);
  if (last?.signal !== undefined) return 128 + signalNumber(last.signal);
  // A system keeps the last byte, so 256 would read as success; a program that was not started has no
  // exit code at all.
  return ((last?.exitCode ?? 0) & 0xff) || 1;
}

/** 0 if all succeeded, else the code of the lowest failed index. */
export function arrayExit(tasks: Task[]): number {
  const byIndex = tasks.toSorted((a, b) => (a.arrayIndex ?? 0) - (b.arrayIndex ?? 0));
  return byIndex.map(taskExit).find((code) => code !== 0) ?? 0;
}

/** Workers and clients may run on different systems; SIGKILL stands for a signal unknown here. */
function signalNumber(name: string): number {
  return (constants.signals as Record<string, number>)[name] ?? constants.signals.SIGKILL;
}
