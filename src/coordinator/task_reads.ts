import type { Urgency } from "../base/time_slices.ts";
import { anySignal } from "../deno/any_signal.ts";
import { baseId, isTaskId } from "../tasks/ids.ts";
import { limits } from "../tasks/limits.ts";
import { type TaskChange, TaskError, type TaskQuery } from "../tasks/service.ts";
import { isFinished, type Task, type TaskSpec } from "../tasks/task.ts";
import { type CallContext, noSuchTask, tasksOf, throwIfStopping } from "./call_context.ts";
import { OpenTasks } from "./task_list.ts";
import { waitReason } from "./policy.ts";
import { selectorKey } from "./task_queue.ts";

export async function* getTask(context: CallContext, id: string): AsyncGenerator<Task> {
  throwIfStopping(context);
  yield* tasksNow(context, await tasksOf(context, [id]));
}

/** The tasks with these ids as they are now, each read when it is asked for. */
export async function* tasksNow(
  context: CallContext,
  ids: Iterable<string>,
  urgency?: Urgency,
): AsyncGenerator<Task> {
  const { slices, leaseTable } = context;
  let view = new CurrentView(context);
  for (const id of ids) {
    const pause = slices.pace(urgency);
    if (pause !== undefined) {
      await pause;
      throwIfStopping(context);
      view = new CurrentView(context);
    }
    const task = leaseTable.store.task(id);
    // An array's own id is no task: its elements have ids of their own.
    if (task !== undefined) yield view.of(task);
  }
}

/**
 * Adds to stored tasks what changes all the time: why a queued task waits, which depends on the
 * connected workers, and how much a running one has written. Valid for the current turn of the event
 * loop: tasks that select the same share one look at the workers.
 */
class CurrentView {
  readonly #reasons = new Map<string, string>();

  constructor(readonly context: CallContext) {}

  of(task: Task): Task {
    if (task.state === "running") return this.#running(task);
    if (task.state !== "queued") return task;
    const now = this.context.leaseTable.clock.now();
    const { notBefore, spec } = task;
    if (notBefore !== undefined && notBefore > now) {
      return { ...task, reason: waitReason({ selector: {}, notBefore, workers: [] }, now) };
    }
    const { atOnce } = spec;
    const running = atOnce && this.context.leaseTable.runningOf(baseId(task.id));
    if (atOnce !== undefined && running! >= atOnce) {
      return { ...task, reason: `Its array runs at most ${atOnce} at once` };
    }
    return { ...task, reason: this.#reason(spec, now) };
  }

  #running(task: Task): Task {
    const lease = this.context.leaseTable.leases.get(task.id);
    if (lease === undefined) return task;
    const { cancelRequested, logged: { stdout: stdoutBytes, stderr: stderrBytes } } = lease;
    const attempts = task.attempts.map((attempt) =>
      attempt.state === "running" ? { ...attempt, stdoutBytes, stderrBytes } : attempt
    );
    return { ...task, cancelRequested, attempts };
  }

  #reason({ selector, resources }: TaskSpec, now: number): string {
    const key = selectorKey(selector, resources);
    let reason = this.#reasons.get(key);
    if (reason === undefined) {
      const workers = [...this.context.registry.connected()];
      reason = waitReason({ selector, resources, notBefore: undefined, workers }, now);
      this.#reasons.set(key, reason);
    }
    return reason;
  }
}

/** Tasks in one answer unless the caller says how many. */
const defaultListed = 100;

/** The ids are those of this moment; the tasks are read when they are asked for. */
export async function listTasks(
  context: CallContext,
  query: TaskQuery,
): Promise<{ tasks: AsyncIterable<Task>; more: boolean }> {
  const limit = query.limit || defaultListed;
  if (!Number.isInteger(limit) || limit < 1 || limit > limits.maxListed) {
    throw new TaskError("invalid", `The limit is ${limit}, not from 1 to ${limits.maxListed}`);
  }
  const { before } = query;
  if (before !== undefined && !isTaskId(before)) throw noSuchTask(before);
  const states = new Set(query.states ?? []);
  await context.slices.pace();
  throwIfStopping(context);
  const { ids, more } = context.leaseTable.store.list({
    states: [...states],
    limit,
    ...(before === undefined ? {} : { before }),
    ...(query.submitter === undefined ? {} : { submitter: query.submitter }),
  });
  async function* read(): AsyncGenerator<Task> {
    for await (const task of tasksNow(context, ids)) {
      // Its state may have changed since its id was found.
      if (states.size === 0 || states.has(task.state)) yield task;
    }
  }
  return { tasks: read(), more };
}

/** Ids of unfinished tasks that are read at a time. */
const pageSize = 500;

/** Every task that has not finished, oldest first. */
function* unfinishedIds({ leaseTable }: CallContext): Generator<string> {
  for (let seq = 0;;) {
    const page = leaseTable.store.unfinished(seq, pageSize);
    for (const { id } of page) yield id;
    if (page.length < pageSize) return;
    seq = page.at(-1)!.seq;
  }
}

export async function* watchTasks(
  context: CallContext,
  ids: string[],
  signal: AbortSignal,
): AsyncGenerator<Task> {
  throwIfStopping(context);
  if (ids.length > limits.maxArray) {
    throw new TaskError("invalid", `More than ${limits.maxArray} ids to watch in one call`);
  }
  if (ids.length === 0) {
    for await (const change of watchChanges(context, signal)) {
      if ("task" in change) yield change.task;
    }
    return;
  }
  const distinct = new Set(ids);
  using subscription = context.changes.subscribe([...distinct]);
  using stop = anySignal(signal, context.stopping);
  const watched = await tasksOf(context, distinct, "whenever");
  /** Those that were seen and have not finished: one may be deleted before its turn comes. */
  const open = new OpenTasks(watched, false);
  let changed: Iterable<string> = watched;
  for (;;) {
    for await (const task of tasksNow(context, changed, "whenever")) {
      if (signal.aborted) return;
      open.set(task.id, !isFinished(task.state));
      yield task;
    }
    if (open.size === 0) return;
    await subscription.wait(stop);
    await context.slices.pace("whenever");
    if (signal.aborted) return;
    throwIfStopping(context);
    changed = subscription.take();
  }
}

/** The tasks that have not finished, unless only changes are wanted; then each change of any task. */
export async function* watchChanges(
  context: CallContext,
  signal: AbortSignal,
  onlyChanges = false,
): AsyncGenerator<TaskChange> {
  throwIfStopping(context);
  using subscription = context.changes.subscribe();
  using stop = anySignal(signal, context.stopping);
  const first = onlyChanges ? [] : unfinishedIds(context);
  for await (const task of tasksNow(context, first, "whenever")) {
    if (signal.aborted) return;
    yield { task };
  }
  for (;;) {
    await subscription.wait(stop);
    if (signal.aborted) return;
    throwIfStopping(context);
    const changed = subscription.take();
    for await (const task of tasksNow(context, changed, "whenever")) {
      if (signal.aborted) return;
      changed.delete(task.id);
      yield { task };
    }
    for (const deletedId of changed) {
      // A change that was announced before the task's row was there is announced again.
      if (context.leaseTable.store.progress(deletedId) === undefined) yield { deletedId };
    }
  }
}
