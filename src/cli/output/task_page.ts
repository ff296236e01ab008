import { formatDuration } from "../../base/durations.ts";
import { isFinished } from "../../tasks/task.ts";
import { stateCell, type TableContext, took } from "./task_table.ts";
import { type Cell, table } from "./table.ts";
import type { TaskView } from "../../client/views.ts";
import { showResources } from "../../tasks/resources.ts";
import { printable } from "../../base/printable.ts";
import { formatBytes } from "../../base/format_bytes.ts";
import { shellLine } from "./format.ts";

/** One task for people: what it runs, how it went, what to do next. */
export function taskPage(task: TaskView, context: TableContext): string {
  const { colors, now } = context;
  const { spec } = task;
  const state = stateCell(task.state, colors) as Exclude<Cell, string>;
  const facts: [string, string | undefined][] = [
    ["Task", task.id],
    [
      "Array",
      task.array_id === null ? undefined : `${task.array_id}, element ${task.array_index}`,
    ],
    [
      "State",
      state.paint(task.state) +
      (task.cancel_requested && !isFinished(task.state) ? ", being cancelled" : ""),
    ],
    ["Reason", task.reason === null ? undefined : printable(task.reason)],
    ["Command", shellLine(spec.argv)],
    ["Folder", spec.cwd === null ? undefined : printable(spec.cwd)],
    ["Variables", pairs(spec.env)],
    ["Input", spec.stdin_bytes === 0 ? undefined : formatBytes(spec.stdin_bytes)],
    ["Selector", pairs(spec.selector)],
    ["Resources", showResources(spec.resources) || undefined],
    ["Time limit", spec.timeout_ms === null ? undefined : formatDuration(spec.timeout_ms)],
    ["Retries", spec.retries === 0 ? undefined : retries(spec)],
    ["Lost after", lostAfter(spec.lost_after_ms)],
    ["If lost", ifLost(spec.max_lost)],
    ["Artifacts", spec.artifacts.length === 0 ? undefined : printable(spec.artifacts.join(" "))],
    [
      "Submitter",
      task.submitter === null
        ? undefined
        : `${printable(task.submitter.name)} (SHA-256 ${task.submitter.fingerprint.slice(0, 16)}…)`,
    ],
    ["Submitted", when(task.submitted_at, now)],
    ["Not before", task.not_before === null ? undefined : task.not_before],
    ["Finished", task.finished_at === null ? undefined : when(task.finished_at, now)],
  ];
  const wide = Math.max(...facts.map(([name]) => name.length)) + 2;
  const head = facts.filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${colors.dim(name.padEnd(wide))}${value}\n`).join("");
  return `${head}\n${attempts(task, context)}\n${nextCommands(task)}`;
}

function attempts(task: TaskView, { colors, width, now }: TableContext): string {
  if (task.attempts.length === 0) return "Not assigned to a worker yet (agent workers list)\n";
  const columns = [
    { title: "ATTEMPT", right: true },
    { title: "STATE" },
    { title: "WORKER" },
    { title: "WAITED", right: true, dropOrder: 1 },
    { title: "TOOK", right: true, dropOrder: 2 },
    { title: "EXIT", right: true },
    { title: "STDOUT", right: true, dropOrder: 3 },
    { title: "STDERR", right: true, dropOrder: 4 },
    { title: "REASON", flexible: true },
  ];
  const rows = task.attempts.map((attempt, i): Cell[] => {
    const since = task.attempts[i - 1]?.finished_at ?? task.submitted_at;
    const waited = attempt.started_at === null
      ? ""
      : formatDuration(Math.max(0, Date.parse(attempt.started_at) - Date.parse(since)));
    return [
      String(attempt.attempt),
      stateCell(attempt.state, colors),
      printable(attempt.worker_id),
      waited,
      took(attempt, now),
      attempt.signal ?? String(attempt.exit_code ?? ""),
      outputSize(attempt, attempt.stdout_bytes),
      outputSize(attempt, attempt.stderr_bytes),
      printable(
        attempt.superseded
          ? "superseded: its result came after its lease was lost"
          : attempt.reason ?? "",
      ),
    ];
  });
  return table(columns, rows, { width, paintTitle: colors.dim });
}

/** A lost attempt did not report how much it wrote. */
function outputSize({ state }: TaskView["attempts"][number], bytes: number): string {
  return state === "lost" && bytes === 0 ? "unknown" : formatBytes(bytes);
}

function nextCommands(task: TaskView): string {
  const finished = isFinished(task.state);
  const commands = finished
    ? [`agent task logs ${task.id}`]
    : [`agent task logs ${task.id} --follow`, `agent task cancel ${task.id}`];
  if (finished && task.spec.artifacts.length > 0) {
    commands.push(`agent task artifacts ${task.id} -o DIR`);
  }
  if (finished && task.state !== "succeeded") commands.push(`agent task retry ${task.id}`);
  return `Next:\n${commands.map((line) => `  ${line}\n`).join("")}`;
}

function retries({ retries, retry_delay_ms: delayMs }: TaskView["spec"]): string {
  return `${retries}${delayMs === 0 ? "" : `, each after ${formatDuration(delayMs)}`}`;
}

function ifLost(maxLost: number | null): string | undefined {
  if (maxLost === null) return undefined;
  return maxLost === 0 ? "it must not run again" : `again, at most ${maxLost} times`;
}

function lostAfter(ms: number | null): string | undefined {
  if (ms === null) return undefined;
  return `${ms === 0 ? "never" : formatDuration(ms)}, if its worker is out of touch`;
}

function when(time: string, now: number): string {
  return `${time} (${formatDuration(Math.max(0, now - Date.parse(time)))} ago)`;
}

function pairs(record: Readonly<Record<string, string>>): string | undefined {
  const all = Object.entries(record).map(([name, value]) => shellLine([`${name}=${value}`]));
  return all.length === 0 ? undefined : all.join(" ");
}
