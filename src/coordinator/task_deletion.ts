import { type Pruned, type PruneQuery, TaskError } from "../tasks/service.ts";
import { isFinished, type Task } from "../tasks/task.ts";
import { type CallContext, taskIdsOf, throwIfStopping } from "./call_context.ts";
import { pageSize } from "./removal.ts";
import { tasksNow } from "./task_reads.ts";

/** Removes a task, or all elements of an array, and gives them as they were. */
export async function* deleteTask(context: CallContext, id: string): AsyncGenerator<Task> {
  throwIfStopping(context);
  const ids = taskIdsOf(context, id);
  const { leaseTable: { store, commits }, removal } = context;
  for (const each of ids) while (commits.locked(each)) await commits.settled();
  const tasks = await Array.fromAsync(tasksNow(context, ids));
  const open = tasks.filter(({ state }) => !isFinished(state));
  if (open.length > 0) {
    const text = ids.length === 1 && ids[0] === id
      ? `Task ${id} has not ended: it is ${open[0]!.state}`
      : `${open.length} of the ${tasks.length} tasks of the array ${id} have not ended`;
    throw new TaskError("wrong_state", text, undefined, { next: `agent task cancel ${id}` });
  }
  const rows = tasks.map((task) => ({
    seq: store.seq(task.id),
    id: task.id,
    state: task.state,
    submittedAt: task.submittedAt,
    finishedAt: task.finishedAt ?? task.submittedAt,
    attempts: task.attempts.at(-1)?.attempt ?? 0,
  }));
  await removal.remove(rows);
  // Without those that were retried meanwhile.
  yield* tasks.filter((task) => store.progress(task.id) === undefined);
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
    await slices.pace();
  }
  yield pruned;
}
