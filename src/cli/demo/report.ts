import { formatDuration } from "../../base/durations.ts";
import type { Colors } from "../output/terminal.ts";
import { type Cell, table } from "../output/table.ts";
import type { Story, Work } from "./story.ts";

/** What ran where, how long it took, and who proved to be whom. */
export function report(
  { work, workers }: Story,
  { colors, width }: { colors: Colors; width: number | undefined },
): string {
  const columns = [
    { title: "WORK" },
    { title: "RAN ON" },
    { title: "ATTEMPTS", right: true },
    { title: "TOOK", right: true },
    { title: "OUTCOME", flexible: true },
  ];
  const rows = work.map((each): Cell[] => [
    each.what,
    places(each),
    String(each.tasks.reduce((sum, task) => sum + task.attempts.length, 0)),
    took(each),
    { text: each.outcome, paint: colors.green },
  ]);
  const identities = workers.map(({ id, identity }) => `${id} as ${identity}`);
  return table(columns, rows, { width, paintTitle: colors.dim }) +
    "\nEvery connection was mutually authenticated:\n" +
    `  the coordinator verified ${identities.join(" and ")}, and the client's certificate;\n` +
    "  each of them verified the coordinator; a client without a certificate was refused.\n";
}

/** `alpha 7, beta 5`. */
function places({ tasks }: Work): string {
  const counts = new Map<string, number>();
  for (const { attempts } of tasks) {
    for (const { worker_id: id } of attempts) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  const all = [...counts].sort(([a], [b]) => a < b ? -1 : 1);
  if (all.length === 0) return "-";
  return all.map(([id, count]) => tasks.length === 1 ? id : `${id} ${count}`).join(", ");
}

/** From the first submit to the last end. */
function took({ tasks }: Work): string {
  const from = Math.min(...tasks.map((task) => Date.parse(task.submitted_at)));
  const to = Math.max(...tasks.map((task) => Date.parse(task.finished_at ?? task.submitted_at)));
  return formatDuration(to - from);
}
