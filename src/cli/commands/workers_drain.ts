import { dialSettings, taskGrants, withTasks } from "../connect.ts";
import { workerView } from "../../client/views.ts";
import { printable } from "../../base/printable.ts";
import { counted } from "../output/format.ts";
import { command } from "../command.ts";

export default command({
  path: "workers drain",
  summary: "Assign no new tasks to a worker",
  description:
    "It finishes its running tasks, and gets no new ones until agent workers resume, even after a restart.",
  args: [{
    name: "ID",
    help: "Id of the worker, as agent workers list shows it",
    required: true,
    completes: "worker",
  }],
  options: {},
  ...dialSettings,
  examples: [{ line: "agent workers drain gpu1", does: "Drain it before its host is updated" }],
  grants: (request) => taskGrants(request),
  run: (request) =>
    withTasks(request, async (tasks) => workerView(await tasks.drainWorker(request.args[0]!))),
  text: ({ id, running }) =>
    `${printable(id)} is draining; it still runs ${counted(running, "task")}`,
});
