import type { TaskView } from "../views.ts";

const words: Record<TaskView["state"], string> = {
  queued: "Queued",
  running: "Running",
  succeeded: "Succeeded",
  failed: "Failed",
  cancelled: "Cancelled",
  timed_out: "Timed out",
  lost: "Lost",
};

export const taskStates = Object.keys(words) as TaskView["state"][];

export function stateText(state: TaskView["state"]): string {
  return words[state];
}

/** A state as a coloured dot and its word. */
export function StateBadge({ state }: { state: TaskView["state"] }) {
  return (
    <span class={`state ${state}`}>
      <span class="dot" aria-hidden="true" />
      {words[state]}
    </span>
  );
}

export function isFinished(state: TaskView["state"]): boolean {
  return state !== "queued" && state !== "running";
}

/** Why a task did not succeed, in a few words: its own reason, else what its last attempt says. */
export function shortReason(task: TaskView): string {
  if (task.reason !== null) return task.reason;
  const last = task.attempts.at(-1);
  if (last === undefined || task.state === "succeeded" || !isFinished(task.state)) return "";
  if (last.reason !== null) return last.reason;
  if (last.signal !== null) return `Ended by ${last.signal}`;
  return last.exit_code === null ? "" : `Exit code ${last.exit_code}`;
}
