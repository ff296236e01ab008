import { exitCode } from "../../base/errors.ts";
import { command } from "../command.ts";
import { dialSettings, taskGrants } from "../connect.ts";
import { endingSoon, overviewPage } from "../output/overview_page.ts";
import { overviewOf } from "../overview.ts";

export default command({
  path: "status",
  summary: "Show coordinators, workers and tasks on one screen",
  description:
    `What runs, what failed in the last 24 hours, and which of the certificates that this host
    dials with end within 30 days.`,
  options: {},
  ...dialSettings,
  examples: [
    { line: "agent status", does: "Show everything that the coordinators know" },
    { line: "agent status --json", does: "The same for programs" },
  ],
  exits: { 3: "A coordinator does not answer, or a certificate ends within 30 days" },
  grants: (request) => taskGrants(request),
  run: (request) => overviewOf(request),
  exit: (overview) =>
    overview.coordinators.every(({ answers }) => answers) && endingSoon(overview).length === 0
      ? exitCode.done
      : exitCode.attention,
  text: (overview, { env }) => overviewPage(overview, env),
});
