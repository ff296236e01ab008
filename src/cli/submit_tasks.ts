import type { Env } from "../base/env.ts";
import { messageOf } from "../base/errors.ts";
import { printable } from "../base/printable.ts";
import { requireMatch, submitToEach } from "../client/submit_to_workers.ts";
import { taskView } from "../client/views.ts";
import { unmatched, workersFor } from "../client/wait_explanation.ts";
import type { SubmitOptions, TaskService } from "../tasks/service.ts";
import type { Labels, TaskSpec } from "../tasks/task.ts";
import { leashVariable } from "./leash.ts";
import { followOutput } from "./output/follow_output.ts";
import { writeJson } from "./output/write_json.ts";

export interface Submission {
  spec: TaskSpec;
  options: SubmitOptions;
  /** One task on every connected worker that matches. */
  each: boolean;
  /** Fail where no known worker has the labels. */
  requireMatch: boolean;
  follow: boolean;
  /** Follow one task after the other. */
  keepOrder: boolean;
  /** Standard input of this command is the task's, or has its lines. */
  usesInput: boolean;
}

interface Context {
  tasks: TaskService;
  env: Env;
  json: boolean;
}

/**
 * Submits, prints the id, and follows where asked to.
 *
 * @returns the exit code.
 */
export async function submitTasks(context: Context, wanted: Submission): Promise<number> {
  const { env } = context;
  if (!wanted.usesInput && isInputIgnored(env)) {
    await env.stderr.write("agent: standard input is not passed to the task (see --stdin)\n");
  }
  return wanted.each ? await submitEach(context, wanted) : await submitOne(context, wanted);
}

/** Not the pipe by which `agent demo` ends its children. */
function isInputIgnored({ stdin, variable }: Env): boolean {
  return stdin.isGiven && variable(leashVariable) !== "1";
}

async function submitOne(context: Context, wanted: Submission): Promise<number> {
  const { tasks, env, json } = context;
  const { spec, options, follow, keepOrder } = wanted;
  if (wanted.requireMatch) await requireMatch(tasks, spec.selector);
  const { id, taskIds } = await tasks.submit(spec, options);
  if (follow) {
    await env.stderr.write(`${id}\n`);
  } else if (json) {
    const views = (await tasks.getTask(id)).map(taskView);
    const shown = options.array === undefined && options.lines === undefined
      ? views[0]
      : { id, tasks: views };
    await writeJson(env.stdout, shown);
  } else {
    await env.stdout.write(`${id}\n`);
  }
  if (!wanted.requireMatch) await sayIfUnmatched(context, spec.selector);
  if (!follow) return 0;
  return (await followOutput({ tasks, env, json, id, ids: taskIds, attempt: 1, keepOrder })).exit;
}

/** Another reason for a task to wait is found when its turn comes; this one a person can see now. */
async function sayIfUnmatched({ tasks, env }: Context, selector: Labels): Promise<void> {
  if (Object.keys(selector).length === 0) return;
  let workers;
  try {
    workers = await tasks.listWorkers();
  } catch (error) {
    // The task is submitted all the same.
    return env.log.debug("cannot ask which workers there are", { reason: messageOf(error) });
  }
  if (workersFor(selector, workers).length > 0) return;
  const { reason, next } = unmatched(selector);
  await env.stderr.write(`agent: the task waits: ${printable(reason)}\n  next: ${next}\n`);
}

async function submitEach(context: Context, wanted: Submission): Promise<number> {
  const { tasks, env, json } = context;
  const { spec, options, follow, keepOrder } = wanted;
  /** By the ids of the tasks. */
  const workers = new Map<string, string>();
  const drained = (worker: string) =>
    env.stderr.write(`agent: ${printable(worker)} is drained and gets no task\n`);
  for await (const { id, worker } of submitToEach(tasks, spec, options, drained)) {
    workers.set(id, worker);
    if (follow) await env.stderr.write(`${id} on ${printable(worker)}\n`);
    else if (!json) await env.stdout.write(`${id}\n`);
  }
  const ids = [...workers.keys()];
  if (follow) {
    const prefix = (id: string) => `[${workers.get(id)}] `;
    const shown = { id: ids[0]!, ids, attempt: 1, prefix, keepOrder };
    return (await followOutput({ tasks, env, json, ...shown })).exit;
  }
  if (json) {
    const all = await Promise.all(ids.map((id) => tasks.getTask(id)));
    await writeJson(env.stdout, { tasks: all.flat().map(taskView) });
  }
  return 0;
}
