import type { Env } from "../../base/env.ts";
import { printable } from "../../base/printable.ts";
import { type WorkerView, workerView } from "../../client/views.ts";
import type { TaskService } from "../../tasks/service.ts";
import { keepWatching } from "./keep_watching.ts";
import { lineStream } from "./line_stream.ts";
import { openTerminalView } from "./terminal_view.ts";
import { workersPage, workerStatus } from "./workers_page.ts";

export interface WorkersWatch {
  tasks: TaskService;
  env: Env;
  json: boolean;
}

/** Shows workers as they change until the signal aborts: a table on a terminal, else lines. */
export async function watchWorkers(watch: WorkersWatch): Promise<void> {
  if (watch.env.stdout.isTerminal && !watch.json) await watchTable(watch);
  else await watchLines(watch);
}

async function watchTable(watch: WorkersWatch): Promise<void> {
  let workers: WorkerView[] | undefined;
  const view = openTerminalView(
    watch.env,
    ({ columns }) => workers === undefined ? "" : workersPage(workers, watch.env, columns),
  );
  try {
    await askWorkers(watch, (answer) => {
      workers = answer;
      view.changed();
      return Promise.resolve();
    });
  } finally {
    await view.close();
  }
}

/** A line for each worker that is not as it was, but for the time of its heartbeat. */
async function watchLines(watch: WorkersWatch): Promise<void> {
  const { env, json } = watch;
  const known = new Map<string, string>();
  await using out = lineStream(env, json);
  const asked = askWorkers(watch, async (workers) => {
    for (const worker of workers) {
      const facts = JSON.stringify({ ...worker, last_heartbeat_at: undefined });
      if (known.get(worker.id) === facts) continue;
      known.set(worker.id, facts);
      await out.write(line(worker, json));
    }
  });
  await Promise.race([out.closed, asked]);
}

async function askWorkers(
  { tasks, env }: WorkersWatch,
  take: (workers: WorkerView[]) => Promise<void>,
): Promise<void> {
  // Workers send a heartbeat each second; the protocol has no stream of their changes.
  await keepWatching(env, async () => take((await tasks.listWorkers()).map(workerView)));
}

function line(worker: WorkerView, json: boolean): string {
  if (json) return JSON.stringify(worker) + "\n";
  return `${printable(worker.id)} ${workerStatus(worker)} ${worker.running}/${worker.slots}\n`;
}
