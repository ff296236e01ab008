import { Refusal } from "../../base/errors.ts";
import { printable } from "../../base/printable.ts";
import { workerView } from "../../client/views.ts";
import { command } from "../command.ts";
import { confirm } from "../confirm.ts";
import { dialSettings, taskGrants, withTasks } from "../connect.ts";
import { counted } from "../output/format.ts";

export default command({
  path: "workers forget",
  summary: "Declare a worker's host gone",
  description:
    "Its tasks count as lost at once, instead of after coordinator.lost_after or their own " +
    "--lost-after, and run elsewhere. " +
    "Only for a host that is really gone: one that is merely cut off may still run them.",
  args: [{
    name: "ID",
    help: "Id of the worker, as agent workers list shows it",
    required: true,
    completes: "worker",
  }],
  options: { yes: { kind: "flag", help: "Do not ask for confirmation" } },
  ...dialSettings,
  examples: [{
    line: "agent workers forget gpu1",
    does: "Run its tasks elsewhere, after a question",
  }],
  exits: { 3: "It was not confirmed; use --yes" },
  grants: (request) => taskGrants(request),
  run: async (request) => {
    const id = request.args[0]!;
    const question = `Tasks of "${printable(id)}" start again on other workers at once. ` +
      "If its host still runs, they run twice at the same time.";
    if (!request.options.yes && !await confirm(request.env, question)) {
      throw new Refusal("To declare a worker gone may run its tasks twice", {
        next: `agent workers forget ${id} --yes`,
      });
    }
    return await withTasks(request, async (tasks) => workerView(await tasks.forgetWorker(id)));
  },
  text: ({ id, running }) =>
    `${printable(id)} is forgotten; ${counted(running, "task")} of it counted as lost`,
});
