import { systemClock } from "../base/clock.ts";
import { baseId } from "../tasks/ids.ts";
import { type TaskChange, TaskError, type TaskService } from "../tasks/service.ts";
import type { Task, WorkerHealth, WorkerInfo } from "../tasks/task.ts";

/** A coordinator that a client dials. */
export interface DialledCoordinator {
  address: string;
  tasks: TaskService;
}

export interface SeveralOptions {
  /** Called for each coordinator that is missing in a merged list, or in what is watched. */
  unanswered: (address: string, error: TaskError) => void;
  /** Called for each that is in a merged list. */
  answered?: (address: string) => void;
  /** Retries while the coordinator is unavailable, up to a limit. */
  again: <T>(ask: () => Promise<T>) => Promise<T>;
}

/**
 * Several coordinators as one. Each has its own tasks and workers: a submit goes to the first in the
 * list that can be reached, lists are merged, and an id is looked for on all of them. State lives on
 * the first coordinator only; on several it would not be one state.
 *
 * A submit whose answer got lost must not go to the next coordinator, because it may have been
 * accepted. It is sent again to the same one, with an idempotency key.
 */
export function oneOfSeveral(
  coordinators: DialledCoordinator[],
  options: SeveralOptions,
): TaskService {
  const { again } = options;
  const [first] = coordinators;
  if (first === undefined) throw new TypeError("No coordinators");
  const owners = new Owners(coordinators);
  const owner = (id: string) => owners.of(id);
  const merged = <T>(ask: (tasks: TaskService) => Promise<T>) => askAll(coordinators, ask, options);
  return {
    async submit(spec, options) {
      const once = { idempotencyKey: `once ${crypto.randomUUID()}`, ...options };
      const send = ({ tasks }: DialledCoordinator) => tasks.submit(spec, once);
      const { at, value } = await firstToTake(coordinators, again, send);
      owners.keep([value.id, ...value.taskIds], at);
      return value;
    },
    getTask: async (id) => (await owner(id)).getTask(id),
    async listTasks(query) {
      return onePage(await merged((tasks) => tasks.listTasks(query)), query.limit);
    },
    async *watchTasks(ids, signal) {
      const groups = ids.length === 0
        ? coordinators.map(({ tasks }): [TaskService, string[]] => [tasks, []])
        : await owners.groups(ids);
      yield* interleaved(groups.map(([tasks, own]) => tasks.watchTasks(own, signal)));
    },
    watchChanges: (...args) => watchChanges(coordinators, options, ...args),
    cancelTask: async (id) => (await owner(id)).cancelTask(id),
    retryTask: async (id) => (await owner(id)).retryTask(id),
    deleteTask: async (id) => (await owner(id)).deleteTask(id),
    async pruneTasks(query) {
      const all = await merged((tasks) => tasks.pruneTasks(query));
      return {
        tasks: all.reduce((sum, each) => sum + each.tasks, 0),
        bytes: all.reduce((sum, each) => sum + each.bytes, 0),
      };
    },
    ...dataCalls(owners),
    listWorkers: async () => mergeWorkers((await merged((tasks) => tasks.listWorkers())).flat()),
    drainWorker: (id) => changeWorker(coordinators, id, (tasks) => tasks.drainWorker(id)),
    resumeWorker: (id) => changeWorker(coordinators, id, (tasks) => tasks.resumeWorker(id)),
    forgetWorker: (id) => changeWorker(coordinators, id, (tasks) => tasks.forgetWorker(id)),
    getState: (namespace, key) => first.tasks.getState(namespace, key),
    putState: (namespace, key, value, ifRevision) =>
      first.tasks.putState(namespace, key, value, ifRevision),
    deleteState: (namespace, key, ifRevision) =>
      first.tasks.deleteState(namespace, key, ifRevision),
    listState: (namespace, prefix) => first.tasks.listState(namespace, prefix),
    watchState: (...args) => first.tasks.watchState(...args),
  };
}

/** What tasks wrote, from the coordinator that has it. */
function dataCalls(owners: Owners) {
  const owner = (id: string) => owners.of(id);
  return {
    async *readLog(query, signal) {
      yield* (await owner(query.taskId)).readLog(query, signal);
    },
    async getArtifacts(taskId, attempt, paths) {
      const tasks = await owner(taskId);
      if (tasks.getArtifacts === undefined) {
        throw new TaskError("unsupported", "The coordinator gives each file by itself");
      }
      return await tasks.getArtifacts(taskId, attempt, paths);
    },
    async *followTasks(ids, positions, signal) {
      const groups = await owners.groups([...ids]);
      if (groups.some(([tasks]) => tasks.followTasks === undefined)) {
        throw new TaskError("unsupported", "A coordinator cannot be followed in one stream");
      }
      yield* interleaved(
        groups.map(([tasks, own]) => tasks.followTasks!(own, positions, signal)),
      );
    },
    listArtifacts: async (id, ...which) => (await owner(id)).listArtifacts(id, ...which),
    async *readArtifact(query, signal) {
      yield* (await owner(query.taskId)).readArtifact(query, signal);
    },
  } satisfies Partial<TaskService>;
}

/** Ids whose coordinator is remembered: a node serves for months. */
const mostKnown = 20_000;

/** Which coordinator has a task or an array; asked once for each. */
class Owners {
  readonly #known = new Map<string, DialledCoordinator>();

  constructor(readonly coordinators: DialledCoordinator[]) {}

  keep(ids: string[], at: DialledCoordinator): void {
    for (const id of ids) this.#known.set(id, at);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= mostKnown) break;
      this.#known.delete(oldest);
    }
  }

  async of(id: string): Promise<TaskService> {
    const [first, ...others] = this.coordinators;
    const known = others.length === 0 ? first : this.#known.get(id);
    if (known !== undefined) return known.tasks;
    const found = await firstToKnow(this.coordinators, `task "${id}"`, async (coordinator) => {
      await coordinator.tasks.getTask(id);
      return coordinator;
    });
    this.keep([id], found);
    return found.tasks;
  }

  async groups(ids: string[]): Promise<[TaskService, string[]][]> {
    const groups = new Map<TaskService, string[]>();
    for (const id of ids) {
      const tasks = await this.of(id);
      const own = groups.get(tasks);
      if (own === undefined) groups.set(tasks, [id]);
      else own.push(id);
    }
    return [...groups];
  }
}

/** The answers of all coordinators that answer; the others are reported, unless none answers. */
async function askAll<T>(
  coordinators: DialledCoordinator[],
  ask: (tasks: TaskService) => Promise<T>,
  { unanswered, answered }: SeveralOptions,
): Promise<T[]> {
  const answers = await settled(coordinators, ({ tasks }) => ask(tasks));
  const good = answers.filter((answer) => answer.error === undefined);
  if (good.length === 0) throw mostTelling(answers.map((answer) => answer.error!));
  for (const { at, error } of answers) {
    if (error instanceof TaskError) unanswered(at.address, error);
    else if (error !== undefined) throw error;
    else answered?.(at.address);
  }
  return good.map((answer) => answer.value!);
}

/** A worker may serve several coordinators, and is then drained on all of them. */
async function changeWorker(
  coordinators: DialledCoordinator[],
  id: string,
  ask: (tasks: TaskService) => Promise<WorkerInfo>,
): Promise<WorkerInfo> {
  const answers = await settled(coordinators, ({ tasks }) => ask(tasks));
  const good = answers.flatMap((answer) => answer.value ?? []);
  const failures = answers.filter((answer) => answer.error !== undefined);
  const grave = failures.filter(({ error }) => !isNotFound(error));
  if (good.length === 0) throw unknownTo(failures, `worker "${id}"`);
  if (grave.length > 0) throw mostTelling(grave.map(({ error }) => error));
  return mergeWorkers(good)[0]!;
}

interface Answer<T> {
  at: DialledCoordinator;
  value?: T;
  error?: unknown;
}

function settled<T>(
  coordinators: DialledCoordinator[],
  ask: (coordinator: DialledCoordinator) => Promise<T>,
): Promise<Answer<T>[]> {
  return Promise.all(coordinators.map(async (at) => {
    try {
      return { at, value: await ask(at) };
    } catch (error) {
      return { at, error };
    }
  }));
}

/**
 * Sends a change to the first coordinator that can be reached. One that received it, or may have, is
 * asked again and no other: it may have been done.
 */
async function firstToTake<T>(
  coordinators: DialledCoordinator[],
  again: SeveralOptions["again"],
  send: (coordinator: DialledCoordinator) => Promise<T>,
): Promise<{ at: DialledCoordinator; value: T }> {
  const errors: unknown[] = [];
  for (const at of coordinators) {
    try {
      return { at, value: await send(at) };
    } catch (error) {
      if (!isUnsent(error)) return { at, value: await againAfter(error, again, () => send(at)) };
      errors.push(error);
    }
  }
  throw mostTelling(errors);
}

/** Lets `again` report the first failure, and wait after it. */
function againAfter<T>(
  failure: unknown,
  again: SeveralOptions["again"],
  ask: () => Promise<T>,
): Promise<T> {
  let tries = 0;
  return again(() => tries++ === 0 ? Promise.reject(failure) : ask());
}

/** Returns with the first that knows it; the slow ones are not awaited. */
async function firstToKnow<T>(
  coordinators: DialledCoordinator[],
  what: string,
  ask: (coordinator: DialledCoordinator) => Promise<T>,
): Promise<T> {
  const failures: Answer<T>[] = [];
  try {
    return await Promise.any(coordinators.map(async (at) => {
      try {
        return await ask(at);
      } catch (error) {
        failures.push({ at, error });
        throw error;
      }
    }));
  } catch {
    throw unknownTo(failures, what);
  }
}

/** A coordinator that did not answer may be the one that knows it, so this is not "not found". */
function unknownTo(failures: Answer<unknown>[], what: string): unknown {
  const grave = failures.filter(({ error }) => !isNotFound(error));
  const silent = grave.filter(({ error }) => isUnavailable(error));
  if (grave.length === 0 || silent.length < grave.length || failures.length === silent.length) {
    return mostTelling((grave.length === 0 ? failures : grave).map(({ error }) => error));
  }
  const missing = silent.map(({ at }) => `"${at.address}"`).join(", ");
  return new TaskError(
    "unavailable",
    `No coordinator that answered knows ${what}, and ${missing} did not answer`,
  );
}

function mostTelling(errors: unknown[]): unknown {
  return errors.find((error) => !isNotFound(error) && !isUnavailable(error)) ??
    errors.find(isUnavailable) ?? errors[0];
}

function isNotFound(error: unknown): boolean {
  return error instanceof TaskError && error.code === "not_found";
}

function isUnavailable(error: unknown): boolean {
  return error instanceof TaskError && error.code === "unavailable";
}

function isUnsent(error: unknown): boolean {
  return error instanceof TaskError && error.unsent;
}

interface Page {
  tasks: Task[];
  more: boolean;
}

/** A list that is cut short, as one of large tasks is, hides what lies between its end and older tasks. */
function onePage(lists: Page[], limit = Infinity): Page {
  const all = lists.flatMap((list) => list.tasks).toSorted(newestFirst);
  const ends = lists.filter((list) => list.more).flatMap((list) => list.tasks.slice(-1));
  const known = ends.length === 0 ? all.length : all.indexOf(ends.toSorted(newestFirst)[0]!) + 1;
  const tasks = all.slice(0, Math.min(known, limit));
  return { tasks, more: tasks.length < all.length || lists.some((list) => list.more) };
}

/**
 * As each coordinator has its own: by id, which grows although a clock is put back. By another order the
 * next page, which begins at the last id, would leave tasks out.
 */
function newestFirst(a: Task, b: Task): number {
  const [baseOfA, baseOfB] = [baseId(a.id), baseId(b.id)];
  if (baseOfA !== baseOfB) return baseOfA < baseOfB ? 1 : -1;
  return (b.arrayIndex ?? 0) - (a.arrayIndex ?? 0);
}

const healthOrder: WorkerHealth[] = ["healthy", "late", "lost"];

/** One entry for each worker: as the coordinator with the best health sees it, with all its tasks. */
function mergeWorkers(workers: WorkerInfo[]): WorkerInfo[] {
  const byId = new Map<string, WorkerInfo>();
  for (const worker of workers) {
    const other = byId.get(worker.id);
    if (other === undefined) {
      byId.set(worker.id, worker);
      continue;
    }
    const [better] = [worker, other].toSorted((a, b) =>
      healthOrder.indexOf(a.health) - healthOrder.indexOf(b.health)
    );
    byId.set(worker.id, {
      ...better!,
      running: worker.running + other.running,
      assigned: worker.assigned + other.assigned,
      draining: worker.draining || other.draining,
      warnings: [...new Set([...other.warnings, ...worker.warnings])],
    });
  }
  return [...byId.values()].toSorted((a, b) => a.id < b.id ? -1 : 1);
}

/** From one try to reach a coordinator that is away to the next. */
const lookAgainMs = 2_000;
/** Tasks that a coordinator which is back is asked for: they may have ended meanwhile. */
const mostRecent = 1_000;

/** The changes of all; one that is away is waited for while another answers. */
function watchChanges(
  coordinators: DialledCoordinator[],
  { unanswered }: SeveralOptions,
  signal: AbortSignal,
  onlyChanges?: boolean,
): AsyncGenerator<TaskChange> {
  const away = new Set<DialledCoordinator>();
  const watch = async function* (at: DialledCoordinator): AsyncGenerator<TaskChange> {
    while (!signal.aborted) {
      try {
        if (away.has(at)) {
          const { tasks } = await at.tasks.listTasks({ limit: mostRecent });
          away.delete(at);
          for (const task of tasks.toReversed()) yield { task };
        }
        return yield* at.tasks.watchChanges(signal, onlyChanges);
      } catch (error) {
        if (!isUnavailable(error)) throw error;
        const isNew = !away.has(at);
        away.add(at);
        if (away.size === coordinators.length) throw error;
        if (isNew) unanswered(at.address, error as TaskError);
      }
      await systemClock.sleep(lookAgainMs, signal).catch(() => {/* The loop ends. */});
    }
  };
  return interleaved(coordinators.map(watch));
}

/** The items of all sources as they come; the first failure ends them all. */
async function* interleaved<T>(sources: AsyncIterable<T>[]): AsyncGenerator<T> {
  const iterators = sources.map((source) => source[Symbol.asyncIterator]());
  const next = async (at: number) => ({ at, result: await iterators[at]!.next() });
  const pending = new Map(iterators.map((_, at) => [at, next(at)]));
  try {
    while (pending.size > 0) {
      const { at, result } = await Promise.race(pending.values());
      if (result.done) {
        pending.delete(at);
        continue;
      }
      pending.set(at, next(at));
      yield result.value;
    }
  } finally {
    // Not awaited: a source cannot return before its next item.
    for (const [at, waiting] of pending) {
      waiting.catch(() => {}); // The caller has stopped listening.
      iterators[at]!.return?.().catch(() => {});
    }
  }
}
