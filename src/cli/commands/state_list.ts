import { formatDuration } from "../../base/durations.ts";
import { TaskError } from "../../tasks/service.ts";
import { dialSettings, forPerson, taskGrants, withTasks } from "../connect.ts";
import { colors, widthOf } from "../output/terminal.ts";
import { checkNames } from "../../client/state_names.ts";
import { table } from "../output/table.ts";
import { stateView } from "../../client/views.ts";
import { printable } from "../../base/printable.ts";
import { shownValue } from "../output/state_value.ts";
import { command } from "../command.ts";

export default command({
  path: "state list",
  summary: "Show the keys of a namespace",
  args: [{ name: "NS", help: "Namespace", required: true }],
  options: { prefix: { kind: "text", help: "Only keys that begin with this text" } },
  ...dialSettings,
  examples: [
    { line: "agent state list build", does: "Show keys with revision, age and value" },
    {
      line: "agent state list build --prefix lock/",
      does: "Show only keys that begin with lock/",
    },
  ],
  grants: (request) => taskGrants(request),
  run: (request) => {
    const namespace = request.args[0]!;
    checkNames(namespace, undefined);
    return withTasks(request, async (tasks) => {
      const entries = await tasks.listState(namespace, request.options.prefix ?? "")
        .catch((error) => {
          const isTooMuch = error instanceof TaskError && error.code === "exhausted";
          throw isTooMuch ? forPerson(error, `agent state list ${namespace} --prefix P`) : error;
        });
      return { namespace, entries: entries.map(stateView) };
    });
  },
  text({ entries, namespace }, { env }) {
    if (entries.length === 0) {
      return env.stdout.isTerminal
        ? `The namespace "${printable(namespace)}" has no such keys`
        : "";
    }
    const now = env.clock.now();
    const columns = [
      { title: "KEY" },
      { title: "REVISION", right: true },
      { title: "AGE", right: true },
      { title: "VALUE", flexible: true },
    ];
    const rows = entries.map((entry) => {
      const { key, revision, updated_at } = entry;
      return [
        printable(key),
        String(revision),
        formatDuration(Math.max(0, now - Date.parse(updated_at))),
        shownValue(entry),
      ];
    });
    const paintTitle = colors(env.stdout).dim;
    return table(columns, rows, { width: widthOf(env.stdout), paintTitle });
  },
});
