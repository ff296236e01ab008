import type { TaskService } from "../../tasks/service.ts";
import { type Task, taskStates } from "../../tasks/task.ts";
import { dialSettings, taskGrants, withTasks } from "../connect.ts";
import { colors, widthOf } from "../output/terminal.ts";
import { taskTable } from "../output/task_table.ts";
import { taskView } from "../../client/views.ts";
import { watchList } from "../output/watch_list.ts";
import { command } from "../command.ts";
import { writeJson } from "../output/write_json.ts";

/** Maximum of one call of the protocol. */
const pageSize = 1_000;

export default command({
  path: "task list",
  summary: "Show tasks, the newest first",
  options: {
    state: {
      kind: "choice",
      choices: taskStates,
      repeat: true,
      help: "Only tasks in this state",
    },
    submitter: {
      kind: "line",
      placeholder: "NAME",
      help: "Only tasks of this certificate's name or SHA-256 fingerprint",
    },
    limit: { kind: "integer", min: 1, default: 50, help: "Maximum number of tasks" },
    watch: { kind: "flag", help: "Keep showing changes until Ctrl-C" },
  },
  ...dialSettings,
  examples: [
    { line: "agent task list", does: "Show the newest tasks" },
    { line: "agent task list --state failed --state lost", does: "Show what went wrong" },
    { line: "agent task list --watch", does: "Show a table that stays up to date" },
    { line: "agent task list --watch --json", does: "Print each change as a line of JSON" },
  ],
  streams: true,
  grants: (request) => taskGrants(request),
  run: (request) =>
    withTasks(request, async (tasks) => {
      const { options, env, json } = request;
      const { state: states, submitter, limit: most } = options;
      if (options.watch) return await watchList({ tasks, env, json, states, submitter, most });
      const found = await list(tasks, { states, submitter }, most);
      if (json) {
        const shown = { tasks: found.tasks.map(taskView), more: found.more };
        return await writeJson(env.stdout, shown);
      }
      if (found.tasks.length === 0) {
        const which = states.length === 0 ? "" : ` ${states.join(" or ")}`;
        return await env.stderr.write(`There are no${which} tasks\n`);
      }
      const now = env.clock.now();
      const context = { colors: colors(env.stdout), width: widthOf(env.stdout), now };
      await env.stdout.write(taskTable(found.tasks.map(taskView), context));
      if (found.more) {
        await env.stderr.write(`There are more; --limit ${options.limit * 10} shows them\n`);
      }
    }),
});

async function list(
  tasks: TaskService,
  { states, submitter }: { states: Task["state"][]; submitter: string | undefined },
  limit: number,
): Promise<{ tasks: Task[]; more: boolean }> {
  const found: Task[] = [];
  let more = true;
  while (more && found.length < limit) {
    const before = found.at(-1)?.id;
    const page = await tasks.listTasks({
      limit: Math.min(pageSize, limit - found.length),
      ...(states.length === 0 ? {} : { states }),
      ...(submitter === undefined ? {} : { submitter }),
      ...(before === undefined ? {} : { before }),
    });
    found.push(...page.tasks);
    more = page.more && page.tasks.length > 0;
  }
  return { tasks: found, more };
}
