import { isFinished } from "../../tasks/task.ts";
import { changedExit, changeTasks, taskArgument } from "../change_tasks.ts";
import { command } from "../command.ts";
import { dialSettings, taskGrants } from "../connect.ts";

export default command({
  path: "task cancel",
  summary: "Cancel tasks, or the unfinished elements of arrays",
  description:
    "A queued task ends at once. A running one gets SIGTERM, and is killed if it does not end.",
  args: [{ ...taskArgument, repeat: true, completes: "open_task" }],
  options: {},
  ...dialSettings,
  examples: [
    { line: "agent task cancel 01jd3p9x", does: "Cancel one, and print its state" },
    { line: "agent task cancel @last 01jd3p9x", does: "Cancel the newest, and another one" },
  ],
  grants: (request) => taskGrants(request),
  run: (request) => changeTasks(request, (tasks, id) => tasks.cancelTask(id)),
  text: ({ tasks }) =>
    tasks.map(({ id, state }) => `${id} ${isFinished(state) ? state : "is being cancelled"}`)
      .join("\n"),
  exit: changedExit,
});
