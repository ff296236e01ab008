import { isFinished, type Task } from "../../tasks/task.ts";
import { changedExit, changeTasks, taskArgument } from "../change_tasks.ts";
import { command } from "../command.ts";
import { dialSettings, taskGrants } from "../connect.ts";

export default command({
  path: "task retry",
  summary: "Queue finished tasks again",
  description:
    "Adds an attempt to the same task, under the same id. Of an array, the elements that did not succeed.",
  args: [{ ...taskArgument, repeat: true, completes: "finished_task" }],
  options: {
    failed: { kind: "flag", help: "Leave out tasks that succeeded, or have not ended" },
  },
  ...dialSettings,
  examples: [
    { line: "agent task retry 01jd3p9x", does: "Queue it again, and print its state" },
    {
      line: "agent task retry @last --failed",
      does: "Queue the failed elements of the newest array again",
    },
    { line: "agent task retry @last", does: "Queue the newest task again" },
  ],
  grants: (request) => taskGrants(request),
  run: (request) =>
    changeTasks(request, async (tasks, id, found) => {
      const isFailed = ({ state }: Task) => isFinished(state) && state !== "succeeded";
      if (request.options.failed && !found.some(isFailed)) return [];
      const retried = await tasks.retryTask(id);
      const failed = new Set(found.filter(isFailed).map((task) => task.id));
      return request.options.failed ? retried.filter((task) => failed.has(task.id)) : retried;
    }),
  text: ({ tasks }) => tasks.map((task) => `${task.id} ${task.state}`).join("\n"),
  exit: changedExit,
});
