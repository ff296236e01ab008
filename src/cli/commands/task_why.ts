import { printable } from "../../base/printable.ts";
import { findTask } from "../../client/find_task.ts";
import { explain } from "../../client/wait_explanation.ts";
import { isFinished } from "../../tasks/task.ts";
import { taskArgument } from "../change_tasks.ts";
import { command } from "../command.ts";
import { dialSettings, taskGrants, withTasks } from "../connect.ts";

export default command({
  path: "task why",
  summary: "Say why a task waits, and what would change that",
  description: "Of an array, the first element that has not finished.",
  args: [taskArgument],
  options: {},
  ...dialSettings,
  examples: [{ line: "agent task why @last", does: "Explain the newest task" }],
  grants: (request) => taskGrants(request),
  run: ({ args, env, config }) =>
    withTasks({ env, config }, async (tasks) => {
      const found = await findTask(tasks, args[0]!);
      const task = found.find(({ state }) => state === "queued") ??
        found.find(({ state }) => !isFinished(state)) ?? found[0]!;
      const workers = task.state === "queued" ? await tasks.listWorkers() : [];
      const isLimited = task.state === "queued" && task.spec.atOnce !== undefined;
      const elements = isLimited ? await tasks.getTask(task.arrayId!) : [];
      const running = elements.filter(({ state }) => state === "running").length;
      const { reason, next } = explain(task, workers, env.clock.now(), running);
      return { id: task.id, state: task.state, reason, next };
    }),
  text: ({ reason, next }) =>
    printable(reason) + (next === null ? "" : `\n  next: ${printable(next)}`),
});
