import { changedExit, changeTasks, taskArgument } from "../change_tasks.ts";
import { command } from "../command.ts";
import { dialSettings, taskGrants } from "../connect.ts";

export default command({
  path: "task retry",
  summary: "Queue finished tasks again",
  description:
    "Adds an attempt to the same task, under the same id. Of an array, the elements that did not succeed.",
  args: [{ ...taskArgument, repeat: true }],
  options: {},
  ...dialSettings,
  examples: [
    { line: "agent task retry 01jd3p9x", does: "Queue it again, and print its state" },
    { line: "agent task retry @last", does: "Queue the newest task again" },
  ],
  grants: (request) => taskGrants(request),
  run: (request) => changeTasks(request, (tasks, id) => tasks.retryTask(id)),
  text: ({ tasks }) => tasks.map((task) => `${task.id} ${task.state}`).join("\n"),
  exit: changedExit,
});
