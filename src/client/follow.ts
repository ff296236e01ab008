import { anySignal } from "../deno/any_signal.ts";
import type { Clock } from "../base/clock.ts";
import { type Backoff, backoffMs } from "../base/retry.ts";
import { baseId } from "../tasks/ids.ts";
import { type FollowedItem, type LogPiece, TaskError, type TaskService } from "../tasks/service.ts";
import { isFinished, type Task } from "../tasks/task.ts";

/** A coordinator that restarts is back within seconds. */
const reconnect: Backoff = { firstMs: 200, factor: 1.6, longestMs: 5_000 };
/** Maximum retry time while following: a host that reboots takes a few minutes. */
const maxSilenceMs = 10 * 60_000;
/** Concurrent streams of an array. Servers commonly allow 100 per connection (RFC 9113, 6.5.2). */
const maxStreams = 50;

export interface Follower {
  tasks: TaskService;
  clock: Clock;
  /** Aborts to stop following. */
  signal: AbortSignal;
  /** Called with each piece in order; the next one is read when it settles. */
  piece: (piece: LogPiece, taskId: string) => Promise<void>;
  /** Called when nothing more comes from this task. */
  ended?: (taskId: string) => Promise<void>;
  /** Called when a further attempt begins. */
  retried?: (taskId: string, attempt: number) => Promise<void>;
  /** Called once when the coordinator stops answering, before it is tried again. */
  silent: (error: TaskError) => void;
  random?: () => number;
}

/**
 * Hands on the logs of a task from the given attempt to its end: each byte once and in order, even
 * if the coordinator restarts in between.
 *
 * @returns the finished task, or `undefined` once the signal aborted.
 */
export async function followTask(
  id: string,
  from: number,
  follower: Follower,
  /** The task as it was just read; saves a question. */
  seen?: Task,
): Promise<Task | undefined> {
  const { tasks, signal } = follower;
  const position = { attempt: from, stdout: 0, stderr: 0 };
  const retry = retryWhileUnavailable(follower);
  let last = seen;
  while (!signal.aborted) {
    const known = last !== undefined && reached(last, position.attempt) ? last : undefined;
    const task = known ?? await retry(() => until(id, position.attempt, follower));
    if (task === undefined) break;
    last = task;
    const attempt = task.attempts.find((each) => each.attempt >= position.attempt);
    if (attempt === undefined) {
      await follower.ended?.(id);
      return task;
    }
    if (attempt.attempt > position.attempt) moveTo(position, attempt.attempt);
    if (position.attempt > from && position.stdout + position.stderr === 0) {
      await follower.retried?.(id, position.attempt);
    }
    // The sizes of a lost attempt do not count what it wrote.
    const silent = isFinished(attempt.state) && attempt.state !== "lost" &&
      attempt.stdoutBytes + attempt.stderrBytes === 0;
    const read = silent || await retry(async () => {
      for await (const piece of tasks.readLog(query(id, position), signal)) {
        if (piece.attempt !== position.attempt) moveTo(position, piece.attempt);
        const fresh = unread(piece, position[piece.stream]);
        position[piece.stream] = Math.max(position[piece.stream], piece.offset + piece.data.length);
        if (fresh.data.length > 0) await follower.piece(fresh, id);
      }
      return true;
    }).catch((error) => {
      if (!(error instanceof TaskError) || error.code !== "not_found") throw error;
      return "given back" as const;
    });
    if (read === "given back") {
      // The worker had no slot for the attempt, and it is no more; if the task is gone, this throws.
      last = undefined;
      continue;
    }
    if (read === undefined || signal.aborted) break;
    // This attempt is read to its end: wait for the next one, or for the end of the task.
    moveTo(position, position.attempt + 1);
  }
  return undefined;
}

/**
 * Follows several tasks, each as it starts. The elements of an array come in one stream.
 *
 * @returns the finished tasks, or `undefined` once the signal aborted.
 */
export async function followAll(ids: string[], follower: Follower): Promise<Task[] | undefined> {
  const arrayId = baseId(ids[0]!);
  try {
    if (ids.every((id) => baseId(id) === arrayId)) return await followArray(arrayId, ids, follower);
  } catch (error) {
    if (!(error instanceof TaskError) || error.code !== "unsupported") throw error;
  }
  return await followEach(ids, follower);
}

/**
 * Follows several tasks one after the other. The coordinator keeps what the later ones write meanwhile.
 *
 * @returns the finished tasks, or `undefined` once the signal aborted.
 */
export async function followInOrder(
  ids: string[],
  follower: Follower,
): Promise<Task[] | undefined> {
  const { tasks } = follower;
  const arrayId = baseId(ids[0]!);
  const isArray = ids.every((id) => baseId(id) === arrayId);
  // Most of an array has often ended already; then nothing has to be asked of each element.
  const all = isArray
    ? await retryWhileUnavailable(follower)(() => tasks.getTask(arrayId))
    : undefined;
  const seen = new Map(all?.map((task) => [task.id, task]));
  const finished: Task[] = [];
  for (const id of ids) {
    const task = await followTask(id, 1, follower, seen.get(id));
    if (task === undefined) return undefined;
    finished.push(task);
  }
  return finished;
}

async function followArray(
  arrayId: string,
  ids: string[],
  follower: Follower,
): Promise<Task[] | undefined> {
  const { tasks, signal } = follower;
  if (tasks.followTasks === undefined) return await followEach(ids, follower);
  const finished = new Map<string, Task>();
  const positions = new Map<string, Position>();
  const positionIn = (id: string, attempt: number) => {
    let position = positions.get(id);
    if (position === undefined) positions.set(id, position = { attempt, stdout: 0, stderr: 0 });
    if (position.attempt < attempt) moveTo(position, attempt);
    return position;
  };
  const take = (item: FollowedItem): Promise<void> | undefined => {
    if ("finished" in item) {
      const { id } = item.finished;
      finished.set(id, item.finished);
      positions.delete(id);
      return follower.ended?.(id);
    }
    const { taskId } = item;
    if ("begun" in item) {
      const isNew = (positions.get(taskId)?.attempt ?? 1) < item.begun;
      positionIn(taskId, item.begun);
      return isNew ? follower.retried?.(taskId, item.begun) : undefined;
    }
    const position = positionIn(taskId, item.piece.attempt);
    const fresh = unread(item.piece, position[item.piece.stream]);
    position[fresh.stream] += fresh.data.length;
    return fresh.data.length > 0 ? follower.piece(fresh, taskId) : undefined;
  };
  await retryWhileUnavailable(follower)(async () => {
    const left = ids.filter((id) => !finished.has(id));
    if (left.length === 0) return;
    const wanted = left.length === ids.length ? [arrayId] : left;
    const stands = [...positions].map(([taskId, { attempt, stdout, stderr }]) => ({
      ...{ taskId, attempt, stdoutOffset: stdout, stderrOffset: stderr },
    }));
    for await (const items of tasks.followTasks!(wanted, stands, signal)) {
      await Promise.all(items.map(take));
    }
  });
  return signal.aborted ? undefined : ids.flatMap((id) => finished.get(id) ?? []);
}

/** Follows tasks by a stream for each. */
async function followEach(ids: string[], follower: Follower): Promise<Task[] | undefined> {
  const { tasks, signal } = follower;
  const retry = retryWhileUnavailable(follower);
  const finished = new Map<string, Task>();
  const started = new Set<string>();
  const running = new Set<Promise<void>>();
  const failures: unknown[] = [];
  const stop = new AbortController();
  const own = { ...follower, signal: anySignal(signal, stop.signal) };
  const start = (task: Task) => {
    started.add(task.id);
    const end = followTask(task.id, 1, own, task).then((ended) => {
      if (ended !== undefined) finished.set(task.id, ended);
    }, (error) => {
      failures.push(error);
      stop.abort();
    }).finally(() => running.delete(end));
    running.add(end);
  };
  await retry(async () => {
    for await (const task of tasks.watchTasks(ids, own.signal)) {
      if (started.has(task.id)) continue;
      if (task.attempts.length === 0 && !isFinished(task.state)) continue;
      while (running.size >= maxStreams) await Promise.race(running);
      start(task);
    }
    return true;
  });
  await Promise.all(running);
  if (failures.length > 0) throw failures[0];
  return signal.aborted ? undefined : ids.flatMap((id) => finished.get(id) ?? []);
}

interface Position {
  attempt: number;
  stdout: number;
  stderr: number;
}

function moveTo(position: Position, attempt: number): void {
  Object.assign(position, { attempt, stdout: 0, stderr: 0 });
}

function query(taskId: string, { attempt, stdout, stderr }: Position) {
  return { taskId, attempt, follow: true, stdoutOffset: stdout, stderrOffset: stderr };
}

/** The part of a piece that was not handed on yet. */
function unread(piece: LogPiece, offset: number): LogPiece {
  if (piece.offset > offset) {
    throw new TaskError(
      "internal",
      `The coordinator skipped ${piece.stream} from byte ${offset} to ${piece.offset}`,
    );
  }
  const known = offset - piece.offset;
  return known === 0 ? piece : { ...piece, offset, data: piece.data.subarray(known) };
}

/** Whether the task has this attempt or a later one, or has finished without it. */
function reached(task: Task, attempt: number): boolean {
  return isFinished(task.state) || task.attempts.some((each) => each.attempt >= attempt);
}

/** Waits until the task has this attempt or a later one, or has finished without it. */
async function until(id: string, attempt: number, follower: Follower): Promise<Task | undefined> {
  let last: Task | undefined;
  for await (const task of follower.tasks.watchTasks([id], follower.signal)) {
    last = task;
    if (reached(task, attempt)) break;
  }
  return follower.signal.aborted ? undefined : last;
}

/** Retries while the coordinator is unavailable; `undefined` once the signal aborted. */
export function retryWhileUnavailable(
  { clock, signal, silent, random = Math.random }: Pick<
    Follower,
    "clock" | "signal" | "silent" | "random"
  >,
  longestMs = maxSilenceMs,
) {
  return async <T>(ask: () => Promise<T>): Promise<T | undefined> => {
    let since: number | undefined;
    let lastTry = 0;
    for (let tries = 1;; tries++) {
      lastTry = clock.monotonic();
      try {
        return await ask();
      } catch (error) {
        if (signal.aborted) return undefined;
        if (!(error instanceof TaskError) || error.code !== "unavailable") throw error;
        const now = clock.monotonic();
        // A stream that worked for a while restarts the retry time.
        if (since === undefined || now - lastTry > reconnect.longestMs) {
          since = now;
          tries = 1;
          silent(error);
        }
        if (now - since > longestMs) throw error;
        try {
          await clock.sleep(backoffMs(reconnect, tries, random()), signal);
        } catch (reason) {
          if (!signal.aborted) throw reason;
          return undefined;
        }
      }
    }
  };
}
