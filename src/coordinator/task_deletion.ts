import { type Pruned, type PruneQuery, TaskError } from "../tasks/service.ts";
import { isFinished, type Task, type TaskState } from "../tasks/task.ts";
import { type CallContext, tasksOf, throwIfStopping } from "./call_context.ts";
import { pageSize } from "./removal.ts";
import { inParts, type TaskList } from "./task_list.ts";
import { tasksNow } from "./task_reads.ts";

/** Tasks whose data is held at a time: each may have 256 KiB of environment. */
const heldTasks = 100;

/**
 * Removes a task, or all elements of an array, and gives them as they were. What was begun is completed,
 * also when the caller has gone.
 */
export async function* deleteTask(context: CallContext, id: string): AsyncGenerator<Task> {
  throwIfStopping(context);
  const all = await tasksOf(context, [id]);
  await refuseUnfinished(context, id, all);
  const parts = inParts(all, heldTasks);
  /** Undefined after the last part, or one that failed. */
  const removeNext = async () => {
    const { value, done } = parts.next();
    if (done) return undefined;
    try {
      return await removePart(context, value);
    } catch (error) {
      parts.return(undefined);
      throw error;
    }
  };
  try {
    for (let removed; (removed = await removeNext()) !== undefined;) yield* removed;
  } finally {
    while (await removeNext() !== undefined);
  }
}

/** @throws {TaskError} `wrong_state` where a task has not ended. */
async function refuseUnfinished(
  context: CallContext,
  id: string,
  all: TaskList,
): Promise<void> {
  const { leaseTable: { store, commits }, slices } = context;
  const open: TaskState[] = [];
  for (const each of all) {
    await slices.pace();
    while (commits.locked(each)) await commits.settled();
    throwIfStopping(context);
    const state = store.progress(each)?.state;
    if (state !== undefined && !isFinished(state)) open.push(state);
  }
  if (open.length === 0) return;
  const text = all.isTask
    ? `Task ${id} has not ended: it is ${open[0]}`
    : `${open.length} of the ${all.length} tasks of the array ${id} have not ended`;
  throw new TaskError("wrong_state", text, undefined, { next: `agent task cancel ${id}` });
}

/** @returns those that were removed: not what was retried meanwhile. */
async function removePart(context: CallContext, ids: string[]): Promise<Task[]> {
  const { leaseTable: { store }, removal } = context;
  const tasks = await Array.fromAsync(tasksNow(context, ids));
  await removal.remove(
    tasks.filter(({ state }) => isFinished(state)).map((task) => ({
      seq: store.seq(task.id),
      id: task.id,
      state: task.state,
      submittedAt: task.submittedAt,
      finishedAt: task.finishedAt ?? task.submittedAt,
      attempts: task.attempts.at(-1)?.attempt ?? 0,
    })),
  );
  return tasks.filter((task) => store.progress(task.id) === undefined);
}

/** Removes what finished long ago, and says how much it was so far. */
export async function* pruneTasks(
  context: CallContext,
  { olderThanMs, states = [], dryRun = false }: PruneQuery,
): AsyncGenerator<Pruned> {
  const { leaseTable: { store, clock }, removal, slices } = context;
  const unfinished = states.find((state) => !isFinished(state));
  if (unfinished !== undefined) {
    throw new TaskError(
      "invalid",
      `Only finished tasks can be pruned, not those that are ${unfinished}`,
    );
  }
  const before = clock.now() - olderThanMs;
  const pruned = { tasks: 0, bytes: 0 };
  for (let seq = 0;;) {
    await slices.pace();
    throwIfStopping(context);
    const page = store.page(seq, pageSize);
    const due = removal.finished(page).filter(({ state, finishedAt }) =>
      finishedAt <= before && (states.length === 0 || states.includes(state))
    );
    if (due.length > 0) {
      const part = dryRun
        ? {
          tasks: due.length,
          bytes: due.reduce((sum, task) => sum + store.outputBytes(task.seq), 0),
        }
        : await removal.remove(due);
      pruned.tasks += part.tasks;
      pruned.bytes += part.bytes;
      yield { ...pruned };
    }
    // Those that follow were submitted later, and cannot have finished before.
    if (page.length < pageSize || page.at(-1)!.submittedAt > before) break;
    seq = page.at(-1)!.seq;
  }
  yield pruned;
}
