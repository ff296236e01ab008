import { formatBytes } from "../../base/format_bytes.ts";
import { isFinished, taskStates } from "../../tasks/task.ts";
import { command } from "../command.ts";
import { dialSettings, taskGrants, withTasks } from "../connect.ts";
import { counted } from "../output/format.ts";

export default command({
  path: "task prune",
  summary: "Remove tasks that finished long ago",
  description:
    `Removes them from the coordinator, with their logs and artifacts. Tasks that are queued or
    running stay. An array is removed as a whole, once all its elements have finished.

    Coordinators do this by themselves: coordinator.retention.`,
  options: {
    olderThan: {
      kind: "duration",
      required: true,
      help: "Time since a task finished; 0 stands for all that have finished",
    },
    state: {
      kind: "choice",
      choices: taskStates.filter(isFinished),
      repeat: true,
      help: "Only tasks in this state",
    },
    dryRun: { kind: "flag", help: "Only show how much would be removed" },
  },
  ...dialSettings,
  examples: [
    {
      line: "agent task prune --older-than 7d --dry-run",
      does: "Show how much a week would leave",
    },
    { line: "agent task prune --older-than 1d --state succeeded", does: "Keep what went wrong" },
  ],
  grants: (request) => taskGrants(request),
  run: (request) => {
    const { olderThan: olderThanMs, state: states, dryRun } = request.options;
    return withTasks(request, async (tasks) => {
      const pruned = await tasks.pruneTasks({ olderThanMs, states: [...states], dryRun });
      return { ...pruned, dry_run: dryRun };
    });
  },
  text: ({ tasks, bytes, dry_run: dryRun }) =>
    `${dryRun ? "Would remove" : "Removed"} ${counted(tasks, "task")} with ${formatBytes(bytes)} ` +
    "of logs and artifacts",
});
