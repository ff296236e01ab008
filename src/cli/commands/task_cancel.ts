import { isFinished } from "../../tasks/task.ts";
import { clientGrants } from "../../sandbox/roles.ts";
import { dialSettings, withTasks } from "../connect.ts";
import { commonId, findTask } from "../../client/find_task.ts";
import { changed } from "../../client/task_change.ts";
import { command } from "../command.ts";

export default command({
  path: "task cancel",
  summary: "Cancel a task, or what is left of an array",
  description:
    "A queued task is over at once; a running one gets SIGTERM, and is killed if it does not end.",
  args: [{ name: "ID", help: "Of the task or array; its beginning is enough", required: true }],
  options: {},
  ...dialSettings,
  examples: [{ line: "agent task cancel 01jd3p9x", does: "Says in which state it is then" }],
  grants: ({ config }) => clientGrants(config),
  run: (request) =>
    withTasks(request, async (tasks) => {
      const id = commonId(await findTask(tasks, request.args[0]!));
      return changed(id, await tasks.cancelTask(id));
    }),
  text: ({ tasks }) =>
    tasks.map(({ id, state }) => `${id} ${isFinished(state) ? state : "is being cancelled"}`)
      .join("\n"),
});
