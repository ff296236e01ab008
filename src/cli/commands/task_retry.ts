import { clientGrants } from "../../sandbox/roles.ts";
import { dialSettings, withTasks } from "../connect.ts";
import { commonId, findTask } from "../../client/find_task.ts";
import { changed } from "../../client/task_change.ts";
import { command } from "../command.ts";

export default command({
  path: "task retry",
  summary: "Queue a finished task again",
  description:
    "A further attempt of the same task, with the same id. Of an array, the elements that did not succeed.",
  args: [{ name: "ID", help: "Of the task or array; its beginning is enough", required: true }],
  options: {},
  ...dialSettings,
  examples: [{ line: "agent task retry 01jd3p9x", does: "Says in which state it is then" }],
  grants: ({ config }) => clientGrants(config),
  run: (request) =>
    withTasks(request, async (tasks) => {
      const id = commonId(await findTask(tasks, request.args[0]!));
      return changed(id, await tasks.retryTask(id));
    }),
  text: ({ tasks }) => tasks.map((task) => `${task.id} ${task.state}`).join("\n"),
});
