import type { Env } from "../../base/env.ts";
import { UserError } from "../../base/errors.ts";
import { printable } from "../../base/printable.ts";
import { arrayExit, followExit, taskExit } from "../../client/exit.ts";
import { followAll, type Follower, followInOrder, followTask } from "../../client/follow.ts";
import { anySignal } from "../../deno/any_signal.ts";
import type { TaskService } from "../../tasks/service.ts";
import type { Task } from "../../tasks/task.ts";
import { counted } from "./format.ts";
import { jsonWriter, lineWriter, plainWriter } from "./log_writers.ts";

export interface FollowRequest {
  tasks: TaskService;
  env: Env;
  json: boolean;
  /** Of the task or the array, as the coordinator knows it. */
  id: string;
  /** One task, or all elements of an array. */
  ids: string[];
  /** The first attempt whose output is wanted. */
  attempt: number;
  /** Put before each line, to tell several tasks apart. */
  prefix?: ((taskId: string) => string) | undefined;
  /** One task after the other, instead of each line as it comes. */
  keepOrder?: boolean;
}

export interface Followed {
  exit: number;
  /** Undefined if following stopped before the end. */
  tasks: Task[] | undefined;
}

/** Shows the output of a task or an array until it has finished, then has its exit code. */
export async function followOutput(request: FollowRequest): Promise<Followed> {
  const { env, id, ids } = request;
  let finished: Task[] | undefined;
  try {
    finished = await follow(request);
  } catch (error) {
    // The output was closed before the end of the task is known: this is no success.
    if (!(error instanceof UserError) || error.code !== "output_closed") throw error;
    await sayDetached(env, id).catch(() => {/* Then stderr is closed as well. */});
    return { exit: followExit.outputClosed, tasks: undefined };
  }
  if (finished === undefined) {
    await sayDetached(env, id);
    return { exit: followExit.detached, tasks: undefined };
  }
  if (finished.length < ids.length) {
    throw new UserError(
      `The end of ${ids.length - finished.length} of ${ids.length} tasks is not known`,
      { next: `agent task show ${id}` },
    );
  }
  const [only] = finished;
  if (ids.length === 1) await sayHowItEnded(request, only!);
  else await sayWhatFailed(request, finished);
  return { exit: ids.length > 1 ? arrayExit(finished) : taskExit(only!), tasks: finished };
}

async function follow(request: FollowRequest): Promise<Task[] | undefined> {
  const { tasks, env, json, ids, attempt } = request;
  const isArray = ids.length > 1;
  const writer = json
    ? jsonWriter(env)
    : isArray
    ? lineWriter(env, request.prefix)
    : plainWriter(env);
  const follower: Follower = {
    tasks,
    clock: env.clock,
    signal: env.signal,
    ...writer,
    silent: (error) => env.log.warn("waiting for the coordinator", { reason: error.message }),
    retried: async (taskId, number) => {
      if (!json) await env.stderr.write(`agent: attempt ${number} of ${taskId} begins\n`);
    },
  };
  const ended = new AbortController();
  using over = anySignal(env.signal, ended.signal);
  // Not awaited: its question ends with the connection.
  void sayWhyItWaits(request, over);
  try {
    const followSeveral = request.keepOrder ? followInOrder : followAll;
    if (isArray) return await followSeveral(ids, follower);
    const task = await followTask(ids[0]!, attempt, follower);
    return task && [task];
  } finally {
    ended.abort();
  }
}

async function sayDetached({ stderr }: Env, id: string): Promise<void> {
  await stderr.write(
    `\nDetached; the task continues. To resume:\n  agent task logs ${id} --follow\n`,
  );
}

/**
 * What the output and the exit code do not tell: a time limit, a cancel, a program that could not be
 * started, an artifact that could not be kept.
 */
async function sayHowItEnded({ env, json }: FollowRequest, task: Task): Promise<void> {
  const { state, reason, attempts, spec } = task;
  if (reason === undefined) return;
  const neverStarted = attempts.at(-1)?.startedAt === undefined;
  if (state === "failed" && !neverStarted && spec.artifacts.length === 0) return;
  const code = state === "failed" && neverStarted ? "not_started" : state;
  const text = json && state !== "succeeded"
    ? JSON.stringify({ error: { code, message: reason } })
    : `agent: ${printable(reason)}`;
  await env.stderr.write(`${text}\n`);
}

async function sayWhatFailed({ env, json, id }: FollowRequest, tasks: Task[]): Promise<void> {
  const failed = tasks.filter(({ state }) => state !== "succeeded").length;
  if (failed === 0 || json) return;
  await env.stderr.write(
    `agent: ${failed} of ${counted(tasks.length, "task")} did not succeed: agent task show ${id}\n`,
  );
}

/** By then, a task that some worker can take has started. */
const longWaitMs = 2_000;

/** Says once why nothing comes, in a pipe too, so that a log explains itself. */
async function sayWhyItWaits(
  { tasks, env, json, id }: FollowRequest,
  signal: AbortSignal,
): Promise<void> {
  if (json) return;
  try {
    await env.clock.sleep(longWaitMs, signal);
    const all = await tasks.getTask(id);
    if (signal.aborted || all.some((task) => task.state !== "queued")) return;
    const reason = all[0]?.reason;
    if (reason !== undefined) await env.stderr.write(`agent: ${id} waits: ${printable(reason)}\n`);
  } catch (error) {
    // It has ended; or the coordinator is away, which the follower reports.
    if (!signal.aborted) env.log.debug("cannot ask what the task waits for", { error: `${error}` });
  }
}

/** The flag of the commands that follow. */
export const keepOrder = {
  kind: "flag",
  help: "With --follow, show the elements of an array one after the other",
} as const;

/** Exit codes of the commands that follow, for their help. */
export const followExits = {
  124: "The task exceeded its time limit",
  125: "The task was lost, or its worker",
  130: "The task was cancelled, or Ctrl-C detached from it",
  141: "The output was closed before the task ended",
} as const;
