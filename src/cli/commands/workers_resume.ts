import { dialSettings, taskGrants, withTasks } from "../connect.ts";
import { workerView } from "../../client/views.ts";
import { printable } from "../../base/printable.ts";
import { counted } from "../output/format.ts";
import { command } from "../command.ts";

export default command({
  path: "workers resume",
  summary: "Assign tasks to a drained worker again",
  description: "The opposite of agent workers drain.",
  args: [{
    name: "ID",
    help: "Id of the worker, as agent workers list shows it",
    required: true,
    completes: "worker",
  }],
  options: {},
  ...dialSettings,
  examples: [{ line: "agent workers resume gpu1", does: "Let it take tasks again" }],
  grants: (request) => taskGrants(request),
  run: (request) =>
    withTasks(request, async (tasks) => workerView(await tasks.resumeWorker(request.args[0]!))),
  text: ({ id, running }) =>
    `${printable(id)} takes tasks again; it runs ${counted(running, "task")}`,
});
