import { changedExit, changeTasks, taskArgument } from "../change_tasks.ts";
import { command } from "../command.ts";
import { dialSettings, taskGrants } from "../connect.ts";

export default command({
  path: "task delete",
  summary: "Remove finished tasks with their logs and artifacts",
  description:
    `Frees their space on the coordinator at once. A task that is queued or running, or an array
    with such an element, is not touched: cancel it first.`,
  args: [{ ...taskArgument, repeat: true, completes: "finished_task" }],
  options: {},
  ...dialSettings,
  examples: [
    { line: "agent task delete 01jd3p9x", does: "Remove one" },
    { line: "agent task delete @last 01jd3p9x", does: "Remove the newest, and another one" },
  ],
  grants: (request) => taskGrants(request),
  run: (request) => changeTasks(request, (tasks, id) => tasks.deleteTask(id)),
  text: ({ tasks }) => tasks.map(({ id }) => `${id} deleted`).join("\n"),
  exit: changedExit,
});
