import type { Env } from "../../base/env.ts";
import { printable } from "../../base/printable.ts";
import { taskView } from "../../client/views.ts";
import type { TaskChange, TaskService } from "../../tasks/service.ts";
import type { Task, TaskState } from "../../tasks/task.ts";
import { keepWatching } from "./keep_watching.ts";
import { shellLine, shortened } from "./format.ts";
import { lineStream } from "./line_stream.ts";
import { openTerminalView, type ViewSize } from "./terminal_view.ts";
import { taskTable } from "./task_table.ts";
import { colors } from "./terminal.ts";

export interface Watch {
  tasks: TaskService;
  env: Env;
  json: boolean;
  /** Empty: all. */
  states: TaskState[];
  /** Name or fingerprint of who submitted them; undefined: anyone. */
  submitter: string | undefined;
  /** Rows at most. */
  most: number;
}

/** Someone who watches for days sees more tasks than memory is for; the first seen go first. */
const maxKept = 10_000;

/** Shows tasks as they change until the signal aborts: a table on a terminal, else a line each. */
export async function watchList(watch: Watch): Promise<void> {
  if (watch.env.stdout.isTerminal && !watch.json) await watchTable(watch);
  else await watchLines(watch);
}

async function watchTable(watch: Watch): Promise<void> {
  const { tasks, env, most } = watch;
  const shown = new Map<string, Task>();
  const view = openTerminalView(env, (size) => rendered(shown, most, size, env));
  const put = (task: Task) => {
    if (isWanted(task, watch)) shown.set(task.id, task);
    else shown.delete(task.id);
    if (shown.size > maxKept) shown.delete(shown.keys().next().value!);
    view.changed();
  };
  try {
    // Watching begins with what has not ended; a table without what just ended would be puzzling.
    const recent = await tasks.listTasks({ limit: Math.min(most, 1_000) });
    recent.tasks.forEach(put);
    await watchAll(watch, (change) => {
      if ("task" in change) put(change.task);
      else if (shown.delete(change.deletedId)) view.changed();
      return Promise.resolve();
    });
  } finally {
    await view.close();
  }
}

function rendered(
  shown: Map<string, Task>,
  most: number,
  { columns, rows }: ViewSize,
  env: Env,
): string {
  const newest = [...shown.values()].toSorted((a, b) => b.submittedAt - a.submittedAt);
  // One line for the titles, and one for what is hidden.
  const room = Math.min(most, Math.max(0, rows - 2));
  const context = { colors: colors(env.stdout), width: columns, now: env.clock.now() };
  const text = taskTable(newest.slice(0, room).map(taskView), context);
  const hidden = newest.length - room;
  return hidden > 0 ? `${text}${hidden} older ones are not shown\n` : text;
}

async function watchLines(watch: Watch): Promise<void> {
  const { env, json } = watch;
  await using out = lineStream(env, json);
  await Promise.race([
    out.closed,
    watchAll(watch, async (change) => {
      if ("task" in change && isWanted(change.task, watch)) {
        await out.write(line(change.task, json));
      }
    }),
  ]);
}

async function watchAll(
  { tasks, env }: Watch,
  take: (change: TaskChange) => Promise<void>,
): Promise<void> {
  // The stream of all tasks does not end; if a server ends it, it is opened again.
  await keepWatching(env, async () => {
    for await (const change of tasks.watchChanges(env.signal)) await take(change);
  });
}

function isWanted({ state, submitter: by }: Task, { states, submitter }: Watch): boolean {
  if (submitter !== undefined && submitter !== by?.name && submitter !== by?.fingerprint) {
    return false;
  }
  return states.length === 0 || states.includes(state);
}

function line(task: Task, json: boolean): string {
  if (json) return JSON.stringify(taskView(task)) + "\n";
  const worker = task.attempts.at(-1)?.workerId ?? "-";
  return `${task.id} ${task.state} ${printable(worker)} ${shortened(shellLine(task.spec.argv))}\n`;
}
