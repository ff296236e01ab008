import { formatDuration } from "../../base/durations.ts";
import { clientGrants } from "../../sandbox/roles.ts";
import { dialSettings, withTasks } from "../connect.ts";
import { type Colors, colors, widthOf } from "../output/terminal.ts";
import { type Cell, table } from "../output/table.ts";
import { type WorkerView, workerView } from "../../client/views.ts";
import { printable } from "../../base/printable.ts";
import { command } from "../command.ts";

export default command({
  path: "workers list",
  summary: "Show the workers, their health and what they run",
  description:
    `A worker is healthy while its last heartbeat is less than 5 seconds old, late up to 15
    seconds, and lost after that. Its identity comes from its verified certificate.`,
  options: {},
  ...dialSettings,
  examples: [
    { line: "agent workers list", does: "Show one worker a line, with warnings below" },
    { line: "agent workers list --json", does: "The same for programs" },
  ],
  grants: ({ config }) => clientGrants(config),
  run: (request) =>
    withTasks(request, async (tasks) => ({ workers: (await tasks.listWorkers()).map(workerView) })),
  text({ workers }, { env }) {
    if (workers.length === 0) return "No worker has connected yet (agent worker)";
    const paint = colors(env.stdout);
    const now = env.clock.now();
    const columns = [
      { title: "ID" },
      { title: "HEALTH" },
      { title: "SEEN", right: true },
      { title: "RUNNING", right: true },
      { title: "VERSION" },
      { title: "ADDRESS" },
      { title: "IDENTITY" },
      { title: "LABELS", flexible: true },
    ];
    const rows = workers.map((worker): Cell[] => [
      printable(worker.id),
      health(worker, paint),
      worker.last_heartbeat_at === null
        ? "never"
        : formatDuration(Math.max(0, now - Date.parse(worker.last_heartbeat_at))),
      `${worker.running}/${worker.slots}`,
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
    const lines = table(columns, rows, { width: widthOf(env.stdout), paintTitle: paint.dim });
    return lines + (warnings.length === 0 ? "" : `\n${warnings.join("")}`);
  },
});

function health({ health, draining, connected }: WorkerView, paint: Colors): Cell {
  const words = [health, ...(draining ? ["draining"] : []), ...(connected ? [] : ["gone"])];
  const color = health === "lost"
    ? paint.red
    : health === "late" || draining || !connected
    ? paint.yellow
    : paint.green;
  return { text: [...new Set(words)].join(", "), paint: color };
}
