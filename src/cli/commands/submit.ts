import type { Env } from "../../base/env.ts";
import { UsageError } from "../../base/errors.ts";
import { limits } from "../../tasks/limits.ts";
import { clientGrants } from "../../sandbox/roles.ts";
import { dialSettings, withTasks } from "../connect.ts";
import { followExits, followOutput } from "../output/follow_output.ts";
import { type TaskDescription, taskSpec } from "../../client/task_spec.ts";
import { taskView } from "../../client/views.ts";
import { command } from "../command.ts";
import { leashVariable } from "../leash.ts";

/** Not the pipe by which `agent demo` ends its children. */
function isInputIgnored({ stdin, variable }: Env): boolean {
  return stdin.isGiven && variable(leashVariable) !== "1";
}

/** The flag of each field of a task. */
const flagNames: Record<keyof TaskDescription, string> = {
  argv: "--",
  env: "--env",
  cwd: "--cwd",
  selector: "--selector",
  timeout_ms: "--timeout",
  retries: "--retries",
  retry_delay_ms: "--retry-delay",
  artifacts: "--artifact",
  array: "--array",
  shell: "--shell",
  idempotency_key: "--idempotency-key",
};

export default command({
  path: "submit",
  summary: "Run a command on one of the workers",
  description: `Prints the id of the task, which is on the coordinator's disk by then. With --follow
    the id goes to stderr, the task's stdout and stderr to ours byte for byte, and the exit code is
    the task's own (of an array 0 if all succeeded, else that of the lowest index that failed).

    The task runs in a folder of its own, which is removed after it; what --artifact matches there
    is kept by the coordinator.`,
  rest: { placeholder: "CMD ARGS…", help: "The command; with --shell a line for /bin/sh" },
  options: {
    selector: {
      kind: "pair",
      repeat: true,
      placeholder: "KEY=VALUE",
      help: "Label that the worker must have",
    },
    env: { kind: "pair", repeat: true, help: "Variable of the task's environment" },
    cwd: {
      kind: "text",
      placeholder: "DIR",
      help: "Folder on the worker to run in, instead of one of its own",
    },
    shell: { kind: "flag", help: "Run the words after -- by /bin/sh -c" },
    timeout: { kind: "duration", help: "End an attempt that runs longer" },
    retries: {
      kind: "integer",
      min: 0,
      max: limits.maxRetries,
      default: 0,
      help: "Further attempts after one that failed or timed out",
    },
    retryDelay: { kind: "duration", default: 0, help: "Wait before each of them" },
    artifact: {
      kind: "text",
      repeat: true,
      placeholder: "GLOB",
      help: "Files of the task's folder to keep: 'out/*', '**/*.log'",
    },
    array: {
      kind: "text",
      placeholder: "A-B",
      help: "A task for each number, which it finds in AGENT_ARRAY_INDEX",
    },
    idempotencyKey: {
      kind: "text",
      placeholder: "KEY",
      help: "The same key with the same request starts nothing twice",
    },
    follow: { kind: "flag", help: "Show the output until the end, and exit with the task's code" },
  },
  ...dialSettings,
  examples: [
    { line: "agent submit -- uname -a", does: "Prints the id at once" },
    {
      line: "agent submit --follow --artifact 'out/*' -- sh -c 'mkdir out; date > out/date.txt'",
      does: "Shows the output as it comes, and keeps a file",
    },
    {
      line:
        "agent submit --selector gpu=a100 --timeout 2h --retries 2 --shell -- './train.sh > log'",
      does: "On a worker with this label only, three attempts at most",
    },
    {
      line: "agent submit --array 0-9 --follow --shell -- 'echo part $AGENT_ARRAY_INDEX'",
      does: "Ten tasks, spread over the workers",
    },
  ],
  exits: followExits,
  streams: true,
  grants: ({ config }) => clientGrants(config),
  async run(request) {
    const { options, rest, env, json } = request;
    if ((rest[0] ?? "") === "") {
      throw new UsageError("No command to run was given", {
        next: "agent submit -- CMD ARGS… (everything after -- is the command)",
      });
    }
    const { spec, options: submitOptions } = taskSpec({
      argv: rest,
      env: options.env,
      cwd: options.cwd,
      selector: options.selector,
      timeout_ms: options.timeout,
      retries: options.retries,
      retry_delay_ms: options.retryDelay,
      artifacts: options.artifact,
      array: options.array,
      shell: options.shell,
      idempotency_key: options.idempotencyKey,
    }, (field) => flagNames[field]);
    return await withTasks(request, async (tasks) => {
      const { id, taskIds } = await tasks.submit(spec, submitOptions);
      if (options.follow) await env.stderr.write(`${id}\n`);
      if (isInputIgnored(env)) {
        await env.stderr.write("agent: standard input is not passed to the task\n");
      }
      if (options.follow) {
        return await followOutput({ tasks, env, json, id, ids: taskIds, attempt: 1 });
      }
      if (json) {
        const views = (await tasks.getTask(id)).map(taskView);
        const isArray = submitOptions.array !== undefined;
        const shown = isArray ? { id, tasks: views } : views[0];
        await env.stdout.write(JSON.stringify(shown, null, 2) + "\n");
      } else {
        await env.stdout.write(`${id}\n`);
      }
      return { exit: 0 };
    });
  },
  exit: ({ exit }) => exit,
});
