import type { Env } from "../../base/env.ts";
import { anySignal } from "../../deno/any_signal.ts";
import { UserError } from "../../base/errors.ts";
import type { TaskService } from "../../tasks/service.ts";
import type { Task } from "../../tasks/task.ts";
import { arrayExit, followExit, taskExit } from "../../client/exit.ts";
import { followArray, type Follower, followTask } from "../../client/follow.ts";
import { jsonWriter, lineWriter, plainWriter } from "./log_writers.ts";
import { printable } from "../../base/printable.ts";

export interface FollowRequest {
  tasks: TaskService;
  env: Env;
  json: boolean;
  /** As the coordinator knows it: of the task or the array. */
  id: string;
  /** One task, or all elements of an array. */
  ids: string[];
  /** The first attempt whose output is wanted. */
  attempt: number;
}

export interface Followed {
  exit: number;
  /** Undefined: the person left before the end. */
  tasks: Task[] | undefined;
}

/** Shows the output of a task or an array on ours until it has finished; then has its exit code. */
export async function followOutput(request: FollowRequest): Promise<Followed> {
  const { tasks, env, json, id, ids, attempt } = request;
  const isArray = ids.length > 1;
  const writer = json ? jsonWriter(env) : isArray ? lineWriter(env) : plainWriter(env);
  const follower: Follower = {
    tasks,
    clock: env.clock,
    signal: env.signal,
    ...writer,
    silent: (error) => env.log.warn("waiting for the coordinator", { reason: error.message }),
    // In a pipe stderr is the task's alone; on a terminal a person wonders why it begins again.
    retried: async (task, number) => {
      if (!env.stderr.isTerminal || isArray) return;
      await env.stderr.write(`agent: attempt ${number} of ${task.id} begins\n`);
    },
  };
  const ended = new AbortController();
  using over = anySignal(env.signal, ended.signal);
  // Not waited for: what it asks ends with the connection.
  void sayWhyItWaits(request, over);
  const finished =
    await (isArray
      ? followArray(ids, follower)
      : followTask(ids[0]!, attempt, follower).then((task) => task && [task]))
      .finally(() => ended.abort());
  if (finished === undefined) {
    await env.stderr.write(
      `\nDetached; it goes on. To resume:\n  agent task logs ${id} --follow\n`,
    );
    return { exit: followExit.detached, tasks: undefined };
  }
  if (finished.length < ids.length) {
    throw new UserError(
      `The end of ${ids.length - finished.length} of ${ids.length} is not known`,
      {
        next: `agent task show ${id}`,
      },
    );
  }
  const [only] = finished;
  if (!isArray && only!.reason !== undefined && only!.state !== "succeeded") {
    // A program that could not be started has written nothing that this could be taken for.
    const never = only!.state === "failed" && only!.attempts.at(-1)?.startedAt === undefined;
    const error = { code: "not_started", message: only!.reason };
    if (never && json) await env.stderr.write(JSON.stringify({ error }) + "\n");
    else if (never) await env.stderr.write(`agent: ${printable(only!.reason)}\n`);
    else env.log.debug("the task ended", { state: only!.state, reason: only!.reason });
  }
  return { exit: isArray ? arrayExit(finished) : taskExit(only!), tasks: finished };
}

/** A task that a worker can take has begun long before. */
const oddlyLongMs = 2_000;

/** At a terminal a person wonders why nothing comes. */
async function sayWhyItWaits(
  { tasks, env, json, id }: FollowRequest,
  signal: AbortSignal,
): Promise<void> {
  if (!env.stderr.isTerminal || json) return;
  try {
    await env.clock.sleep(oddlyLongMs, signal);
    const all = await tasks.getTask(id);
    if (signal.aborted || all.some((task) => task.state !== "queued")) return;
    const reason = all[0]?.reason;
    if (reason !== undefined) await env.stderr.write(`agent: ${id} waits: ${printable(reason)}\n`);
  } catch (error) {
    // It is over; or the coordinator is away, which the follower says.
    if (!signal.aborted) env.log.debug("cannot ask what the task waits for", { error: `${error}` });
  }
}

/** Exit codes of the commands that follow, for their help. */
export const followExits = {
  124: "The task timed out",
  125: "The task was lost, or its worker",
  130: "The task was cancelled, or Ctrl-C detached from it",
} as const;
