import { formatDuration } from "../../base/durations.ts";
import type { Env } from "../../base/env.ts";
import { printable } from "../../base/printable.ts";
import type { WorkerView } from "../../client/views.ts";
import { type Cell, table } from "./table.ts";
import { type Colors, colors } from "./terminal.ts";

/** Workers for people: one a line, with warnings below. */
export function workersPage(
  workers: WorkerView[],
  env: Pick<Env, "stdout" | "clock">,
  width: number | undefined,
): string {
  if (workers.length === 0) return "No worker has connected yet (agent worker)\n";
  const paint = colors(env.stdout);
  const now = env.clock.now();
  const hasAny = workers.some(({ resources }) => Object.keys(resources).length > 0);
  const columns = [
    { title: "ID" },
    { title: "HEALTH" },
    { title: "SEEN", right: true, dropOrder: 2 },
    { title: "RUNNING", right: true },
    { title: "ASSIGNED", right: true, dropOrder: 2 },
    ...(hasAny ? [{ title: "RESOURCES", dropOrder: 5 }] : []),
    { title: "VERSION", dropOrder: 3 },
    { title: "ADDRESS", dropOrder: 1 },
    { title: "IDENTITY", dropOrder: 4 },
    { title: "LABELS", flexible: true },
  ];
  const rows = workers.map((worker): Cell[] => [
    printable(worker.id),
    health(worker, paint),
    worker.last_heartbeat_at === null
      ? "never"
      : formatDuration(Math.max(0, now - Date.parse(worker.last_heartbeat_at))),
    `${worker.running}/${worker.slots}`,
    String(worker.assigned),
    ...(hasAny ? [inUse(worker)] : []),
    printable(worker.version),
    printable(worker.address),
    printable(worker.identity ?? "-"),
    printable(Object.entries(worker.labels).map(([k, v]) => `${k}=${v}`).join(" ")),
  ]);
  const warnings = workers.flatMap(({ id, trouble, warnings }) => [
    ...trouble === null
      ? []
      : [`${paint.red("No tasks")} for ${printable(id)}: ${printable(trouble)}\n`],
    ...warnings.map((warning) =>
      `${paint.yellow("Warning")} of ${printable(id)}: ${printable(warning)}\n`
    ),
  ]);
  const lines = table(columns, rows, { width, paintTitle: paint.dim });
  return lines + (warnings.length === 0 ? "" : `\n${warnings.join("")}`);
}

/** `gpu 1/2` */
function inUse({ resources, resources_used: used }: WorkerView): string {
  const all = Object.entries(resources);
  return printable(all.map(([name, count]) => `${name} ${used[name] ?? 0}/${count}`).join(", "));
}

/** The health of a worker, and whether it is drained or disconnected. */
export function workerStatus({ health, draining, connected }: WorkerView): string {
  const facts = [health, ...(draining ? ["draining"] : []), ...(connected ? [] : ["disconnected"])];
  return facts.join(", ");
}

function health(worker: WorkerView, paint: Colors): Cell {
  const { health, draining, connected } = worker;
  const color = health === "lost"
    ? paint.red
    : health === "late" || draining || !connected
    ? paint.yellow
    : paint.green;
  return { text: workerStatus(worker), paint: color };
}
