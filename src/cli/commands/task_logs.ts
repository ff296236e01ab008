import { UsageError } from "../../base/errors.ts";
import { dialSettings, taskGrants, withTasks } from "../connect.ts";
import { commonId, findTask } from "../../client/find_task.ts";
import { readLogs } from "../../client/read_logs.ts";
import { followExits, followOutput, keepOrder } from "../output/follow_output.ts";
import { indexPrefix, jsonWriter, lineWriter, plainWriter } from "../output/log_writers.ts";
import { taskArgument } from "../change_tasks.ts";
import { limits } from "../../tasks/limits.ts";
import { command } from "../command.ts";

export default command({
  path: "task logs",
  summary: "Show what a task wrote",
  description: `The task's stdout goes to stdout and its stderr to stderr, byte for byte. Without
    --attempt, the newest attempt is shown; of an array, all elements, one after the other. --follow
    continues until the task has finished, and exits with its code; lines of an array then come as
    they are written, or with --keep-order in the order of the elements.`,
  args: [taskArgument],
  options: {
    follow: { kind: "flag", short: "f", help: "Continue until the task has finished" },
    attempt: {
      kind: "integer",
      min: 1,
      max: limits.maxAttempt,
      help: "Show this attempt instead of the newest",
    },
    keepOrder,
    prefix: { kind: "flag", help: "Begin each line of an array with the index of its element" },
  },
  ...dialSettings,
  examples: [
    { line: "agent task logs 01jd3p9x", does: "Show what its newest attempt has written" },
    { line: "agent task logs 01jd3p9x --follow", does: "Resume a submit --follow" },
    { line: "agent task logs @last --prefix", does: "Show the newest array, line by line" },
    {
      line: "agent task logs 01jd3p9x --attempt 1 2>/dev/null",
      does: "Show only stdout of the first attempt",
    },
  ],
  exits: followExits,
  streams: true,
  grants: (request) => taskGrants(request),
  run: (request) => {
    const { options, args, env, json } = request;
    const { attempt } = options;
    if (options.follow && attempt !== undefined) {
      throw new UsageError("--follow and --attempt cannot be used together", {
        next: "Leave --attempt out; --follow begins with the newest attempt",
      });
    }
    return withTasks(request, async (tasks) => {
      const found = await findTask(tasks, args[0]!);
      if (options.follow) {
        const newest = found[0]!.attempts.at(-1)?.attempt ?? 1;
        const id = commonId(found);
        const ids = found.map((task) => task.id);
        const prefix = options.prefix ? indexPrefix : undefined;
        const shown = { id, ids, attempt: newest, prefix, keepOrder: options.keepOrder };
        return await followOutput({ tasks, env, json, ...shown });
      }
      const isArray = found.length > 1;
      const writer = json
        ? jsonWriter(env)
        : isArray && options.prefix
        ? lineWriter(env, indexPrefix)
        : plainWriter(env);
      for await (const { task, pieces } of readLogs(tasks, found, attempt, env.signal)) {
        for await (const piece of pieces) await writer.piece(piece, task.id);
        await writer.ended(task.id);
      }
      return { exit: 0 };
    });
  },
  exit: ({ exit }) => exit,
});
