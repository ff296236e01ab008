import { anySignal } from "../deno/any_signal.ts";
import { validateArray, validateIdempotencyKey, validateSpec } from "../tasks/validation.ts";
import type { WorkerRegistry } from "./worker_registry.ts";
import { elementId, isTaskId } from "../tasks/ids.ts";
import type { LeaseTable } from "./lease_table.ts";
import { limits } from "../tasks/limits.ts";
import type { ChangeFeed } from "./change_feed.ts";
import { waitReason } from "./policy.ts";
import { type SubmitOptions, type Submitted, TaskError, type TaskQuery } from "../tasks/service.ts";
import type { NewTask } from "./store.ts";
import { isFinished, type Task, type TaskSpec } from "../tasks/task.ts";

/** What client calls work on. */
export interface Parts {
  leaseTable: LeaseTable;
  registry: WorkerRegistry;
  changes: ChangeFeed;
  newId: () => string;
  /** Aborts with a `TaskError` when the coordinator stops. */
  stopping: AbortSignal;
}

/** Most tasks in one answer; a page of a thousand small ones is well below a message's bound. */
const maxListed = 1_000;
const defaultListed = 100;

export async function submit(
  parts: Parts,
  spec: TaskSpec,
  options: SubmitOptions = {},
): Promise<Submitted> {
  validateSpec(spec);
  const { array, idempotencyKey } = options;
  const count = array === undefined ? 1 : validateArray(array);
  const { leaseTable } = parts;
  const { commits, store, clock, queue } = leaseTable;
  let key: { text: string; hash: string } | undefined;
  if (idempotencyKey !== undefined) {
    validateIdempotencyKey(idempotencyKey);
    key = { text: idempotencyKey, hash: await requestHash(spec, array) };
    while (commits.locked(`key ${key.text}`)) await commits.settled();
    const known = store.submission(key.text);
    if (known !== undefined) {
      if (known.hash === key.hash) {
        return { id: known.id, taskIds: store.taskIds(known.id), existing: true };
      }
      throw new TaskError(
        "already_exists",
        `The idempotency key "${key.text}" was used for another request, task ${known.id}`,
      );
    }
  }
  throwIfStopping(parts);
  const id = parts.newId();
  const tasks: NewTask[] = Array.from({ length: count }, (_, at) => ({
    seq: leaseTable.takeSeq(),
    id: array === undefined ? id : elementId(id, array.first + at),
    arrayIndex: array === undefined ? undefined : array.first + at,
  }));
  const arrayId = array === undefined ? undefined : id;
  const written = commits.write(
    { kind: "submit", tasks, spec, at: clock.now(), arrayId, key },
    {
      task: id,
      ...(key === undefined ? {} : { lock: `key ${key.text}` }),
      undo: () => tasks.forEach((task) => queue.remove(task.id)),
    },
  );
  if (commits.failing === undefined) {
    for (const task of tasks) {
      queue.add({
        seq: task.seq,
        id: task.id,
        selector: spec.selector,
        notBefore: undefined,
        failures: 0,
        losses: 0,
        attempts: 0,
        spec,
      });
    }
  }
  await written;
  // From here on the store has it; a million waiting tasks should not hold theirs in memory.
  for (const task of tasks) {
    const queued = queue.get(task.id);
    if (queued !== undefined) queued.spec = undefined;
    if (arrayId !== undefined) parts.changes.tell(task.id);
  }
  return { id, taskIds: tasks.map((task) => task.id), existing: false };
}

async function requestHash(spec: TaskSpec, array: SubmitOptions["array"]): Promise<string> {
  const sorted = (record: Record<string, string>) =>
    Object.entries(record).sort(([a], [b]) => a < b ? -1 : 1);
  const text = JSON.stringify([
    spec.argv,
    sorted(spec.env),
    spec.cwd ?? null,
    sorted(spec.selector),
    spec.timeoutMs ?? null,
    spec.retries,
    spec.retryDelayMs,
    spec.artifacts,
    array === undefined ? null : [array.first, array.last],
  ]);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return new Uint8Array(digest).toHex();
}

function throwIfStopping({ stopping }: Parts): void {
  if (stopping.aborted) throw stopping.reason;
}

export function noSuchTask(id: string): TaskError {
  return new TaskError("not_found", `There is no task "${id.slice(0, 100)}"`);
}

export function getTask(parts: Parts, id: string): Task[] {
  const tasks = isTaskId(id) ? parts.leaseTable.store.tasks(id) : [];
  if (tasks.length === 0) throw noSuchTask(id);
  return asOfNow(parts, tasks);
}

/**
 * Adds what changes all the time and is therefore not stored: why a queued task waits, which depends
 * on who is connected, and how much a running one has written.
 */
function asOfNow(parts: Parts, tasks: Task[]): Task[] {
  if (tasks.every((task) => isFinished(task.state))) return tasks;
  const workers = [...parts.registry.connected()];
  const now = parts.leaseTable.clock.now();
  return tasks.map((task) => {
    const logged = parts.leaseTable.leases.get(task.id)?.logged;
    if (task.state === "running" && logged !== undefined) {
      const { stdout: stdoutBytes, stderr: stderrBytes } = logged;
      const attempts = task.attempts.map((attempt) =>
        attempt.state === "running" ? { ...attempt, stdoutBytes, stderrBytes } : attempt
      );
      return { ...task, attempts };
    }
    if (task.state !== "queued") return task;
    const { notBefore, spec } = task;
    return { ...task, reason: waitReason({ selector: spec.selector, notBefore, workers }, now) };
  });
}

export function listTasks(parts: Parts, query: TaskQuery): { tasks: Task[]; more: boolean } {
  const limit = query.limit || defaultListed;
  if (!Number.isInteger(limit) || limit < 1 || limit > maxListed) {
    throw new TaskError("invalid", `The limit is ${limit}, and has to be from 1 to ${maxListed}`);
  }
  const { before } = query;
  if (before !== undefined && !isTaskId(before)) throw noSuchTask(before);
  const { tasks, more } = parts.leaseTable.store.list({
    states: [...new Set(query.states ?? [])],
    limit,
    ...(before === undefined ? {} : { before }),
  });
  return { tasks: asOfNow(parts, tasks), more };
}

export async function* watchTasks(
  parts: Parts,
  ids: string[],
  signal: AbortSignal,
): AsyncGenerator<Task> {
  throwIfStopping(parts);
  if (ids.length > limits.maxArray) {
    throw new TaskError("invalid", `More than ${limits.maxArray} tasks are to be watched at once`);
  }
  const { store } = parts.leaseTable;
  const all = ids.length === 0;
  using subscription = parts.changes.subscribe(all ? undefined : ids);
  const open = new Set<string>();
  const first = all ? store.unfinishedIds() : ids.flatMap((id) => {
    const found = isTaskId(id) ? store.taskIds(id) : [];
    if (found.length === 0) throw noSuchTask(id);
    return found;
  });
  for (const id of first) open.add(id);
  using stop = anySignal(signal, parts.stopping);
  let changed: Iterable<string> = first;
  for (;;) {
    for (const id of changed) {
      if (signal.aborted) return;
      throwIfStopping(parts);
      const task = asOfNow(parts, store.tasks(id))[0];
      // An array's own id tells that there are elements; they are told one by one.
      if (task === undefined || task.id !== id) continue;
      if (isFinished(task.state)) open.delete(id);
      else open.add(id);
      yield task;
    }
    if (!all && open.size === 0) return;
    await subscription.wait(stop);
    if (signal.aborted) return;
    throwIfStopping(parts);
    changed = subscription.take();
  }
}

export async function cancelTask(parts: Parts, id: string): Promise<Task[]> {
  const { leaseTable, registry } = parts;
  const tasks = getTask(parts, id);
  let cancelled = 0;
  await Promise.all(tasks.map(async (task) => {
    while (leaseTable.commits.locked(task.id)) await leaseTable.commits.settled();
    const queued = leaseTable.queue.get(task.id);
    const lease = leaseTable.leases.get(task.id);
    if (queued !== undefined) {
      cancelled++;
      leaseTable.queue.remove(task.id);
      await leaseTable.commits.write({
        kind: "cancel",
        seq: queued.seq,
        reason: "Cancelled before it started",
        at: leaseTable.clock.now(),
      }, { task: task.id, lock: task.id, undo: () => leaseTable.queue.add(queued) });
    } else if (lease !== undefined) {
      cancelled++;
      if (lease.cancelRequested) return;
      lease.cancelRequested = true;
      await leaseTable.commits.write({ kind: "request_cancel", seq: lease.seq }, {
        task: task.id,
        lock: task.id,
        undo: () => lease.cancelRequested = false,
      });
      if (lease.live) registry.cancel(lease);
    }
  }));
  if (cancelled === 0) {
    throw new TaskError("wrong_state", finishedText(getTask(parts, id), id));
  }
  return getTask(parts, id);
}

function finishedText(tasks: Task[], id: string): string {
  return tasks.length === 1
    ? `Task ${id} has already ended: it is ${tasks[0]!.state}`
    : `All tasks of the array ${id} have already ended`;
}

/** A single task whatever its end; of an array those that did not succeed. */
export async function retryTask(parts: Parts, id: string): Promise<Task[]> {
  const { leaseTable } = parts;
  const { commits, store, queue } = leaseTable;
  const ids = getTask(parts, id).map((task) => task.id);
  const single = ids.length === 1 && ids[0] === id;
  let retried = 0;
  await Promise.all(ids.map(async (each) => {
    while (commits.locked(each)) await commits.settled();
    const task = store.tasks(each)[0]!;
    if (!isFinished(task.state) || !single && task.state === "succeeded") return;
    retried++;
    const seq = store.seq(each);
    const undo = () => queue.remove(each);
    const written = commits.write({ kind: "retry", seq, from: task.state }, {
      task: each,
      lock: each,
      undo,
    });
    if (commits.failing === undefined) {
      queue.add({
        seq,
        id: each,
        selector: task.spec.selector,
        notBefore: undefined,
        failures: 0,
        losses: 0,
        attempts: task.attempts.at(-1)?.attempt ?? 0,
        spec: undefined,
      });
    }
    await written;
  }));
  if (retried === 0) {
    const text = single
      ? `Task ${id} has not ended yet`
      : `No task of the array ${id} has ended without success`;
    throw new TaskError("wrong_state", text);
  }
  return getTask(parts, id);
}
