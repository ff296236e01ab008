import { clientGrants } from "../../sandbox/roles.ts";
import { dialSettings, withTasks } from "../connect.ts";
import { workerView } from "../../client/views.ts";
import { printable } from "../../base/printable.ts";
import { counted } from "../output/format.ts";
import { command } from "../command.ts";

export default command({
  path: "workers drain",
  summary: "Give a worker nothing new",
  description:
    "It finishes what it runs, and gets nothing more until agent workers resume, also after a restart.",
  args: [{ name: "ID", help: "Of the worker, as agent workers list shows it", required: true }],
  options: {},
  ...dialSettings,
  examples: [{ line: "agent workers drain gpu1", does: "Before its host is updated" }],
  grants: ({ config }) => clientGrants(config),
  run: (request) =>
    withTasks(request, async (tasks) => workerView(await tasks.drainWorker(request.args[0]!))),
  text: ({ id, running }) =>
    `${printable(id)} is draining; it still runs ${counted(running, "task")}`,
});
