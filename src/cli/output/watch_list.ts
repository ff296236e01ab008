import { anySignal } from "../../deno/any_signal.ts";
import type { Env } from "../../base/env.ts";
import type { TaskService } from "../../tasks/service.ts";
import type { Task, TaskState } from "../../tasks/task.ts";
import { retryWhileUnavailable } from "../../client/follow.ts";
import { colors, sizeOf } from "./terminal.ts";
import { taskTable } from "./task_table.ts";
import { taskView } from "../../client/views.ts";
import { printable } from "../../base/printable.ts";
import { shellLine } from "./format.ts";

export interface Watch {
  tasks: TaskService;
  env: Env;
  json: boolean;
  /** Empty: all. */
  states: TaskState[];
  /** Rows where the terminal does not say how many fit. */
  most: number;
}

/** Faster than this no one reads, and ages are shown in seconds. */
const redrawMs = 200;
const idleRedrawMs = 1_000;

/** Who watches for days sees more tasks than memory is for; the first seen go first. */
const mostKept = 10_000;

/** Shows tasks as they change until the signal aborts: a table on a terminal, else a line each. */
export async function watchList(watch: Watch): Promise<void> {
  const { tasks, env, states } = watch;
  const wanted = (task: Task) => states.length === 0 || states.includes(task.state);
  const screen = env.stdout.isTerminal && !watch.json ? openScreen(watch) : undefined;
  const patiently = retryWhileUnavailable({
    ...env,
    silent: (error) => env.log.warn("waiting for the coordinator", { reason: error.message }),
  });
  try {
    // Watching begins with what has not ended; a table without what just ended would be puzzling.
    if (screen !== undefined) {
      const recent = await tasks.listTasks({ limit: Math.min(watch.most, 1_000) });
      recent.tasks.forEach((task) => screen.put(task, wanted(task)));
    }
    while (!env.signal.aborted) {
      await patiently(async () => {
        for await (const task of tasks.watchTasks([], env.signal)) {
          if (screen !== undefined) screen.put(task, wanted(task));
          else if (wanted(task)) await env.stdout.write(line(task, watch.json));
        }
      });
      // The stream of all tasks has no end of its own; a server that ends it is asked again.
      await pause(env, idleRedrawMs, env.signal);
    }
  } finally {
    await screen?.close();
  }
}

function line(task: Task, json: boolean): string {
  if (json) return JSON.stringify(taskView(task)) + "\n";
  const worker = task.attempts.at(-1)?.workerId ?? "-";
  return `${task.id} ${task.state} ${printable(worker)} ${shellLine(task.spec.argv)}\n`;
}

/** The alternate screen of the terminal, drawn again when something changed. */
function openScreen({ env, most }: Watch) {
  const shown = new Map<string, Task>();
  const stop = new AbortController();
  const signal = anySignal(env.signal, stop.signal);
  let changed = true;
  const draw = async () => {
    const size = sizeOf();
    const rows = Math.min(most, Math.max(1, (size?.rows ?? 25) - 3));
    const newest = [...shown.values()].toSorted((a, b) => b.submittedAt - a.submittedAt);
    const context = { colors: colors(env.stdout), width: size?.columns, now: env.clock.now() };
    const text = taskTable(newest.slice(0, rows).map(taskView), context);
    const hidden = newest.length - rows;
    const foot = `${hidden > 0 ? `${hidden} older ones are not shown. ` : ""}Ctrl-C ends this\n`;
    const lines = (text + "\n" + foot).replaceAll("\n", "\x1b[K\n");
    await env.stdout.write(`\x1b[H${lines}\x1b[J`);
  };
  const loop = async () => {
    await env.stdout.write("\x1b[?1049h\x1b[?25l");
    let drawnAt = -Infinity;
    while (!signal.aborted) {
      const now = env.clock.monotonic();
      if (changed || now - drawnAt >= idleRedrawMs) {
        changed = false;
        drawnAt = now;
        await draw();
      }
      await pause(env, redrawMs, signal);
    }
  };
  const drawing = loop();
  return {
    put(task: Task, wanted: boolean) {
      if (wanted) shown.set(task.id, task);
      else shown.delete(task.id);
      if (shown.size > mostKept) shown.delete(shown.keys().next().value!);
      changed = true;
    },
    async close() {
      stop.abort();
      try {
        await drawing;
      } finally {
        await env.stdout.write("\x1b[?25h\x1b[?1049l");
      }
    },
  };
}

/** Ends early, and quietly, when the signal aborts. */
async function pause(env: Env, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await env.clock.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
