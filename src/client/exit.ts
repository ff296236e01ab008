import { constants } from "node:os";
import type { Attempt, Task } from "../tasks/task.ts";

/** Exit codes of commands that follow a task, where it has none of its own; as `timeout(1)` does. */
export const followExit = { timedOut: 124, lost: 125, cancelled: 130, detached: 130 } as const;

/** The attempt whose end is the task's: the newest one that still held its lease. */
function decidingAttempt(task: Task): Attempt | undefined {
  return task.attempts.findLast((attempt) => !attempt.superseded);
}

/** With what a command that followed this finished task exits. */
export function taskExit(task: Task): number {
  if (task.state === "succeeded") return 0;
  if (task.state === "timed_out") return followExit.timedOut;
  if (task.state === "cancelled") return followExit.cancelled;
  if (task.state === "lost") return followExit.lost;
  const last = decidingAttempt(task);
  if (last?.signal !== undefined) return 128 + signalNumber(last.signal);
  // Of other systems' codes this one would keep the last byte, as of 256. A program that could not be
  // started has no exit code. In both cases 0 would read as success.
  return ((last?.exitCode ?? 0) & 0xff) || 1;
}

/** 0 if all succeeded, else the code of the lowest failed index. */
export function arrayExit(tasks: Task[]): number {
  const byIndex = tasks.toSorted((a, b) => (a.arrayIndex ?? 0) - (b.arrayIndex ?? 0));
  return byIndex.map(taskExit).find((code) => code !== 0) ?? 0;
}

/** Workers and clients may run on different systems; SIGKILL stands for what is unknown here. */
function signalNumber(name: string): number {
  return (constants.signals as Record<string, number>)[name] ?? constants.signals.SIGKILL;
}
