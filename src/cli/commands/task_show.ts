import { dialSettings, taskGrants, withTasks } from "../connect.ts";
import { commonId, findTask } from "../../client/find_task.ts";
import { colors, widthOf } from "../output/terminal.ts";
import { taskPage } from "../output/task_page.ts";
import { arrayPage } from "../output/array_page.ts";
import { taskView } from "../../client/views.ts";
import { taskArgument } from "../change_tasks.ts";
import { command } from "../command.ts";

export default command({
  path: "task show",
  summary: "Show the details of a task, or the totals of an array",
  description: "Of an array, the elements that did not succeed come first.",
  args: [taskArgument],
  options: {},
  ...dialSettings,
  examples: [
    { line: "agent task show 01jd3p9x", does: "Show what it runs, where it ran and why it ended" },
    { line: "agent task show 01jd3p9x --json", does: "The same for programs" },
  ],
  grants: (request) => taskGrants(request),
  run: (request) =>
    withTasks(request, async (tasks) => {
      const found = await findTask(tasks, request.args[0]!);
      const [only] = found;
      if (found.length === 1) return taskView(only!);
      return { id: commonId(found), tasks: found.map(taskView) };
    }),
  text(result, { env }) {
    const context = {
      colors: colors(env.stdout),
      width: widthOf(env.stdout),
      now: env.clock.now(),
    };
    return "tasks" in result
      ? arrayPage(result.id, result.tasks, context)
      : taskPage(result, context);
  },
});
