import { formatDuration } from "../../base/durations.ts";
import type { TaskState } from "../../tasks/task.ts";
import type { Colors } from "./terminal.ts";
import { type Cell, table } from "./table.ts";
import type { TaskView } from "../../client/views.ts";
import { printable } from "../../base/printable.ts";
import { shellLine, shortened } from "./format.ts";

export interface TableContext {
  colors: Colors;
  width: number | undefined;
  /** Milliseconds since the epoch. */
  now: number;
}

/** Tasks for people, one a line. The elements of an array have one command, which is shown once. */
export function taskTable(tasks: TaskView[], { colors, width, now }: TableContext): string {
  const columns = [
    { title: "ID" },
    { title: "STATE" },
    { title: "AGE", right: true, dropOrder: 1 },
    { title: "TOOK", right: true, dropOrder: 2 },
    { title: "EXIT", right: true, dropOrder: 3 },
    { title: "WORKER", dropOrder: 4 },
    { title: "COMMAND", flexible: true },
  ];
  const rows = tasks.map((task, at): Cell[] => {
    const repeats = task.array_id !== null && task.array_id === tasks[at - 1]?.array_id;
    const last = task.attempts.findLast((attempt) => !attempt.superseded);
    return [
      task.id,
      stateCell(task.state, colors),
      formatDuration(Math.max(0, now - Date.parse(task.submitted_at))),
      took(last, now),
      last?.signal ?? String(last?.exit_code ?? ""),
      printable(last?.worker_id ?? ""),
      repeats ? "(same array)" : shortened(shellLine(task.spec.argv)),
    ];
  });
  return table(columns, rows, { width, paintTitle: colors.dim });
}

/** How long an attempt took, or has been running. */
export function took(attempt: TaskView["attempts"][number] | undefined, now: number): string {
  if (attempt === undefined || attempt.started_at === null) return "";
  const end = attempt.finished_at === null ? now : Date.parse(attempt.finished_at);
  return formatDuration(Math.max(0, end - Date.parse(attempt.started_at)));
}

export function stateCell(state: TaskState, colors: Colors): Cell {
  const paint = state === "succeeded"
    ? colors.green
    : state === "running"
    ? colors.blue
    : state === "queued"
    ? colors.dim
    : state === "cancelled"
    ? colors.yellow
    : colors.red;
  return { text: state, paint };
}
