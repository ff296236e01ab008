import { TaskError } from "../tasks/service.ts";
import { isFinished, type Task, type TaskState } from "../tasks/task.ts";
import { type CallContext, noSuchTask, tasksOf, throwIfStopping } from "./call_context.ts";
import type { Lease } from "./lease_table.ts";
import { inParts } from "./task_list.ts";
import type { QueuedTask } from "./task_queue.ts";
import { tasksNow } from "./task_reads.ts";

/** Changes that one call has under way at a time: about one commit's worth. */
const stepSize = 250;

/** Cancels what has not ended, and gives the tasks as they are then. */
export async function* cancelTask(context: CallContext, id: string): AsyncGenerator<Task> {
  throwIfStopping(context);
  const tasks = await tasksOf(context, [id]);
  const cancelled = await inSteps(context, tasks, (each) => cancelOne(context, each));
  if (cancelled === 0) {
    const text = tasks.isTask
      ? `Task ${id} has already ended (${stateOf(context, id)})`
      : `All tasks of the array ${id} have already ended`;
    throw new TaskError("wrong_state", text);
  }
  yield* tasksNow(context, tasks);
}

function stateOf({ leaseTable }: CallContext, id: string): TaskState {
  const progress = leaseTable.store.progress(id);
  if (progress === undefined) throw noSuchTask(id);
  return progress.state;
}

/**
 * Applies a change to each task, some at a time. One that fails does not keep the others from being
 * changed; the first error is thrown at the end.
 *
 * @returns how many were changed.
 */
async function inSteps(
  { slices }: CallContext,
  tasks: Iterable<string>,
  change: (id: string) => Promise<boolean>,
): Promise<number> {
  let changed = 0;
  const errors: unknown[] = [];
  for (const step of inParts(tasks, stepSize)) {
    await slices.pace();
    const results = await Promise.allSettled(step.map(change));
    for (const result of results) {
      if (result.status === "rejected") errors.push(result.reason);
      else if (result.value) changed++;
    }
  }
  if (errors.length > 0) throw errors[0];
  return changed;
}

/** @returns whether the task had not ended yet. */
async function cancelOne(context: CallContext, id: string): Promise<boolean> {
  const { leaseTable } = context;
  while (leaseTable.commits.locked(id)) await leaseTable.commits.settled();
  throwIfStopping(context);
  const queued = leaseTable.queue.get(id);
  const lease = leaseTable.leases.get(id);
  if (queued !== undefined) await cancelQueued(context, queued);
  else if (lease !== undefined) await cancelRunning(context, lease);
  return queued !== undefined || lease !== undefined;
}

async function cancelQueued({ leaseTable }: CallContext, queued: QueuedTask): Promise<void> {
  const { queue, commits, clock } = leaseTable;
  queue.remove(queued.id);
  const reason = "Cancelled before it started";
  await commits.write(
    { kind: "cancel", seq: queued.seq, reason, at: clock.now() },
    { task: queued.id, lock: queued.id, undo: () => queue.add(queued) },
  );
}

/**
 * Asks the worker to end the attempt. A store that cannot be written does not stand in the way: the
 * task may be what fills the disk. The request is then stored as soon as that is possible.
 */
async function cancelRunning(
  { leaseTable, registry, stopping }: CallContext,
  lease: Lease,
): Promise<void> {
  if (lease.cancelRequested) return;
  lease.cancelRequested = true;
  const { commits } = leaseTable;
  const { seq, ref: { taskId } } = lease;
  const change = { kind: "request_cancel", seq } as const;
  try {
    await commits.write(change, { task: taskId, lock: taskId });
  } catch (error) {
    if (stopping.aborted || commits.failing === undefined) {
      lease.cancelRequested = false;
      throw error;
    }
    commits.add({ change, task: taskId });
  }
  if (lease.live) registry.cancel(lease);
}

/** Queues a finished task again; of an array the elements that did not succeed. */
export async function* retryTask(context: CallContext, id: string): AsyncGenerator<Task> {
  throwIfStopping(context);
  const tasks = await tasksOf(context, [id]);
  const single = tasks.isTask;
  const retried = await inSteps(context, tasks, (each) => retryOne(context, each, single));
  if (retried === 0) {
    const text = single
      ? `Task ${id} has not ended yet`
      : `No task of the array ${id} has ended without success`;
    throw new TaskError("wrong_state", text);
  }
  yield* tasksNow(context, tasks);
}

/** @returns whether it could be queued again. */
async function retryOne(context: CallContext, id: string, single: boolean): Promise<boolean> {
  const { commits, store, queue } = context.leaseTable;
  while (commits.locked(id)) await commits.settled();
  throwIfStopping(context);
  const task = store.task(id);
  if (task === undefined || context.removal.isUnderWay(id)) throw noSuchTask(id);
  if (!isFinished(task.state) || !single && task.state === "succeeded") return false;
  const seq = store.seq(id);
  const written = commits.write({ kind: "retry", seq, from: task.state }, {
    task: id,
    lock: id,
    undo: () => queue.remove(id),
  });
  if (commits.failing === undefined) {
    queue.add({
      seq,
      id,
      selector: task.spec.selector,
      atOnce: task.spec.atOnce,
      resources: task.spec.resources,
      notBefore: undefined,
      failures: 0,
      losses: 0,
      attempts: task.attempts.at(-1)?.attempt ?? 0,
      spec: undefined,
    });
  }
  await written;
  return true;
}
