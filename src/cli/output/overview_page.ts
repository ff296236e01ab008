import type { Env } from "../../base/env.ts";
import { printable } from "../../base/printable.ts";
import type { Overview } from "../overview.ts";
import { counted } from "./format.ts";
import { taskTable } from "./task_table.ts";
import { colors, widthOf } from "./terminal.ts";
import { workersPage } from "./workers_page.ts";

/** A certificate is shown from this many days before its end, as `tls status` warns. */
export const warningDays = 30;

/** One screen: what does not work comes first. */
export function overviewPage(overview: Overview, env: Pick<Env, "stdout" | "clock">): string {
  const paint = colors(env.stdout);
  const width = widthOf(env.stdout);
  const context = { colors: paint, width, now: env.clock.now() };
  const lines: string[] = [];
  for (const { address, answers, reason } of overview.coordinators) {
    const state = answers ? paint.green("answers") : paint.red("does not answer");
    lines.push(`Coordinator ${printable(address)} ${state}`);
    if (reason !== null) lines.push(`  ${printable(reason)}`);
  }
  for (const { file, subject, days_left: days } of endingSoon(overview)) {
    const when = days < 0
      ? `expired ${counted(-days, "day")} ago`
      : `ends in ${counted(days, "day")}`;
    lines.push(`${paint.yellow("Certificate")} ${printable(subject)} ${when} (${printable(file)})`);
  }
  if (!overview.coordinators.some(({ answers }) => answers)) return `${lines.join("\n")}\n`;
  lines.push("", workersPage(overview.workers, env, width).trimEnd(), "");
  const { queued, assigned, running, failed } = overview;
  const started = { ...running, count: running.count - assigned.count };
  const given = assigned.count > 0 ? [`${amount(assigned, "task")} assigned`] : [];
  lines.push(
    [`${amount(queued, "task")} queued`, ...given, `${amount(started, "task")} running`].join(", "),
  );
  if (running.tasks.length > 0) {
    lines.push(taskTable(running.tasks, context).trimEnd());
    if (running.count > running.tasks.length) {
      lines.push(paint.dim("agent task list --state running"));
    }
  }
  lines.push("", `${amount(failed, "task")} failed in the last 24 hours`);
  if (failed.tasks.length > 0) {
    lines.push(taskTable(failed.tasks, context).trimEnd());
    lines.push(paint.dim(`agent task logs ${failed.tasks[0]!.id}`));
  }
  return `${lines.join("\n")}\n`;
}

export function endingSoon({ certificates }: Overview): Overview["certificates"] {
  return certificates.filter((certificate) => certificate.days_left < warningDays);
}

function amount({ count, more }: { count: number; more: boolean }, noun: string): string {
  return `${more ? "More than " : ""}${counted(count, noun)}`;
}
