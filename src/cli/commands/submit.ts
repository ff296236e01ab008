import { parseDuration } from "../../base/durations.ts";
import { UsageError } from "../../base/errors.ts";
import { leaseTimes, limits } from "../../tasks/limits.ts";
import { dialSettings, taskGrants, withTasks } from "../connect.ts";
import { followExits, keepOrder } from "../output/follow_output.ts";
import { type TaskDescription, taskSpec } from "../../client/task_spec.ts";
import { command } from "../command.ts";
import { isDescriptor, isInput, lineFiles, readLines } from "../read_lines.ts";
import { readStdin } from "../read_stdin.ts";
import { submitTasks } from "../submit_tasks.ts";
import { ownLabels } from "../../tasks/selectors.ts";

/** The flag of each field of a task. */
const flagNames: Record<keyof TaskDescription, string> = {
  argv: "--",
  env: "--env",
  cwd: "--cwd",
  selector: "--selector",
  timeout_ms: "--timeout",
  retries: "--retries",
  retry_delay_ms: "--retry-delay",
  max_lost: "--max-lost",
  lost_after_ms: "--lost-after",
  no_requeue: "--no-requeue",
  stdin_base64: "--stdin",
  resources: "--resource",
  artifacts: "--artifact",
  array: "--array",
  lines: "--each-line",
  shell: "--shell",
  idempotency_key: "--idempotency-key",
};

export default command({
  path: "submit",
  summary: "Run a command on one of the workers",
  description:
    `Prints the id of the task once it is on the coordinator's disk. With --follow, the id
    goes to stderr, the task's stdout and stderr go to those of this command byte for byte, and the
    exit code is the task's own (for an array, 0 if all succeeded, else that of the lowest failed
    index).

    The task runs in its own folder, which is removed afterwards; the coordinator keeps the files
    that --artifact matches there.`,
  rest: { placeholder: "CMD ARGS…", help: "The command; with --shell a line for /bin/sh" },
  options: {
    selector: {
      kind: "pair",
      repeat: true,
      placeholder: "KEY=VALUE",
      help:
        "Label that the worker must have; each has its id as worker and its host's name as host",
    },
    worker: {
      kind: "worker_id",
      completes: "worker",
      help: "Run it on this worker; the same as --selector worker=ID",
    },
    each: { kind: "flag", help: "Run it once on every connected worker that matches" },
    requireMatch: {
      kind: "flag",
      help: "Submit only if there is a worker, connected or not, with these labels",
    },
    resource: {
      kind: "resource",
      repeat: true,
      help: "What the task has for itself while it runs, such as gpu=1; it reads which ones " +
        "from AGENT_RESOURCE_GPU and CUDA_VISIBLE_DEVICES",
    },
    env: { kind: "pair", repeat: true, help: "Variable of the task's environment" },
    cwd: {
      kind: "text",
      placeholder: "DIR",
      help: "Folder on the worker to run in, instead of the task's own folder",
    },
    shell: { kind: "flag", help: "Run the words after -- with /bin/sh -c" },
    stdin: { kind: "flag", help: "Pass standard input of this command to the task, up to 1 MiB" },
    timeout: { kind: "duration", help: "Time limit of an attempt" },
    retries: {
      kind: "integer",
      min: 0,
      max: limits.maxRetries,
      default: 0,
      help: "Number of further attempts after one that failed or timed out",
    },
    retryDelay: { kind: "duration", default: 0, help: "Wait before each further attempt" },
    maxLost: {
      kind: "integer",
      min: 0,
      max: limits.maxRetries,
      help: "How often a lost attempt may be repeated; " +
        `${leaseTimes.maxRequeues} unless set, 0: the task must not run again`,
    },
    lostAfter: {
      kind: "text",
      placeholder: "D|never",
      help:
        "How long its worker may be out of touch before an attempt counts as lost, from 10s to " +
        "30d; coordinator.lost_after unless set",
    },
    noRequeue: { kind: "flag", help: "The task must not run again after it was lost" },
    artifact: {
      kind: "text",
      repeat: true,
      placeholder: "GLOB",
      help: "Files of the task's folder to keep, such as 'out/*' or '**/*.log'",
    },
    array: {
      kind: "text",
      placeholder: "A-B",
      help: "Run a task for each number, which is its AGENT_ARRAY_INDEX: 0-9, 1,3,5-9, " +
        "or 0-99%20 for at most 20 at once",
    },
    eachLine: {
      kind: "text",
      placeholder: "FILE",
      help: "Run a task for each line of the file, which is its AGENT_LINE; - is standard input",
    },
    idempotencyKey: {
      kind: "text",
      placeholder: "KEY",
      help: "Submit only once: the same key and request return the same task",
    },
    follow: { kind: "flag", help: "Show the output until the task ends, and exit with its code" },
    keepOrder,
  },
  ...dialSettings,
  examples: [
    { line: "agent submit -- uname -a", does: "Print the id and return" },
    {
      line: "agent submit --follow --artifact 'out/*' -- sh -c 'mkdir out; date > out/date.txt'",
      does: "Show the output as it comes, and keep a file",
    },
    {
      line:
        "agent submit --selector gpu=a100 --timeout 2h --retries 2 --shell -- './train.sh > log'",
      does: "Run it on a worker with this label, with at most three attempts",
    },
    {
      line: "agent submit --resource gpu=2 -- ./train.sh",
      does: "Wait for two GPUs, and use them",
    },
    {
      line: "agent submit --lost-after never -- ./train.sh",
      does: "Let it go on for as long as its host is cut off from the coordinator",
    },
    { line: "agent submit --each --follow -- nvidia-smi -L", does: "Run it on every worker" },
    { line: "agent submit --stdin --follow -- wc -l < words.txt", does: "Give it a file to read" },
    {
      line: "agent submit --array 0-9 --follow --shell -- 'echo part $AGENT_ARRAY_INDEX'",
      does: "Run ten tasks, spread over the workers",
    },
    {
      line: "agent submit --each-line urls.txt --shell -- 'curl -fsSO \"$AGENT_LINE\"'",
      does: "Run a task for each line of a file",
    },
  ],
  exits: followExits,
  streams: true,
  prepare: async ({ options: { eachLine }, env }) =>
    isDescriptor(eachLine) ? await readLines(env, eachLine) : undefined,
  grants: (request) => taskGrants(request, { read: lineFiles(request.options.eachLine) }),
  async run(request) {
    const { options, rest, env, json, prepared } = request;
    if ((rest[0] ?? "") === "") {
      throw new UsageError("No command to run was given", {
        next: "agent submit -- CMD ARGS… (everything after -- is the command)",
      });
    }
    const { spec, options: submitOptions } = taskSpec({
      argv: rest,
      env: options.env,
      cwd: options.cwd,
      selector: {
        ...options.selector,
        ...(options.worker === undefined ? {} : { [ownLabels.worker]: options.worker }),
      },
      resources: options.resource,
      timeout_ms: options.timeout,
      retries: options.retries,
      retry_delay_ms: options.retryDelay,
      max_lost: options.maxLost,
      lost_after_ms: options.lostAfter === undefined ? undefined : lostAfterMs(options.lostAfter),
      no_requeue: options.noRequeue,
      artifacts: options.artifact,
      array: options.array,
      // Those of a descriptor were read before this thread began.
      lines: prepared as string[] | undefined ??
        (options.eachLine === undefined ? undefined : await readLines(env, options.eachLine)),
      shell: options.shell,
      idempotency_key: options.idempotencyKey,
    }, (field) => flagNames[field]);
    if (options.stdin && isInput(options.eachLine)) {
      throw new UsageError("Standard input can be --stdin or --each-line, not both");
    }
    if (options.stdin) {
      if (env.stdin.isTerminal) {
        throw new UsageError("--stdin, but standard input is a terminal", {
          next: "Pipe something in: agent submit --stdin -- CMD < FILE",
        });
      }
      spec.stdin = await readStdin(env, limits.maxStdinBytes);
    }
    const { each, requireMatch, follow } = options;
    if (options.keepOrder && !follow) throw new UsageError("--keep-order needs --follow");
    for (const field of ["array", "lines"] as const) {
      if (!each || submitOptions[field] === undefined) continue;
      throw new UsageError(`--each and ${flagNames[field]} contradict each other`);
    }
    const usesInput = options.stdin || isInput(options.eachLine);
    const wanted = {
      spec,
      options: submitOptions,
      each,
      requireMatch,
      follow,
      keepOrder: options.keepOrder,
      usesInput,
    };
    const exit = await withTasks(
      request,
      (tasks) => submitTasks({ tasks, env, json }, wanted),
    );
    return { exit };
  },
  exit: ({ exit }) => exit,
});

/** Of `--lost-after`; 0 stands for `never`. */
function lostAfterMs(text: string): number {
  if (text === "never") return 0;
  const ms = parseDuration(text);
  if (ms > 0) return ms;
  throw new UsageError("--lost-after 0 would lose the task at once", {
    next: "Write --lost-after never for a task that is never lost by silence",
  });
}
