import { type TaskState, taskStates } from "../../tasks/task.ts";
import { isAssigned, type TaskView } from "../../client/views.ts";
import { printable } from "../../base/printable.ts";
import { counted, shellLine, shortened } from "./format.ts";
import { type TableContext, taskTable } from "./task_table.ts";

/** More rows are no longer read; those that matter come first. */
const maxRows = 20;

/** What needs a look comes first, what went well last. */
const order: TaskState[] = [
  "failed",
  "timed_out",
  "lost",
  "cancelled",
  "running",
  "queued",
  "succeeded",
];

/** `3 queued, 2 assigned, 4 running`: what a worker has been given does not run yet. */
function totalsOf(tasks: TaskView[]): string {
  const count = (state: TaskState) => tasks.filter((task) => task.state === state).length;
  const assigned = tasks.filter(isAssigned).length;
  const amounts = taskStates.flatMap((state): [number, string][] =>
    state === "running"
      ? [[assigned, "assigned"], [count(state) - assigned, state]]
      : [[count(state), state]]
  );
  return amounts.filter(([amount]) => amount > 0).map((each) => each.join(" ")).join(", ");
}

/** An array for people: what it runs, how many elements are in which state, failures first. */
export function arrayPage(id: string, tasks: TaskView[], context: TableContext): string {
  const { dim } = context.colors;
  const totals = totalsOf(tasks);
  const shown = tasks.toSorted((a, b) =>
    order.indexOf(a.state) - order.indexOf(b.state) || (a.array_index ?? 0) - (b.array_index ?? 0)
  ).slice(0, maxRows);
  const hidden = tasks.length - shown.length;
  const waiting = tasks.find(({ state, reason }) => state === "queued" && reason !== null)?.reason;
  return [
    `${dim("Array")}    ${id}, ${counted(tasks.length, "task")}`,
    `${dim("States")}   ${totals}`,
    `${dim("Command")}  ${shortened(shellLine(tasks[0]?.spec.argv ?? []))}`,
    ...waiting === undefined || waiting === null
      ? []
      : [`${dim("Waiting")}  ${printable(waiting)}`],
    "",
    taskTable(shown, context) +
    (hidden === 0 ? "" : `${hidden} more are not shown; --json prints all of them\n`),
  ].join("\n");
}
