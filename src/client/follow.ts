import { anySignal } from "../deno/any_signal.ts";
import type { Clock } from "../base/clock.ts";
import { type Backoff, backoffMs } from "../base/retry.ts";
import { type LogPiece, TaskError, type TaskService } from "../tasks/service.ts";
import { isFinished, type Task } from "../tasks/task.ts";

/** A coordinator that restarts is back within seconds; nobody waits for one that is gone. */
const reconnect: Backoff = { firstMs: 200, factor: 1.6, longestMs: 5_000 };
/** A host that reboots takes a few minutes. */
const longestSilenceMs = 10 * 60_000;
/** Streams at once for an array. Servers commonly allow 100 on a connection (RFC 9113, 6.5.2). */
const mostStreams = 50;

export interface Follower {
  tasks: TaskService;
  clock: Clock;
  /** Aborts when the person has seen enough. */
  signal: AbortSignal;
  /** Takes each piece in order; the next one is read when it settles. */
  piece: (piece: LogPiece, task: Task) => Promise<void>;
  /** No more comes from this task. */
  ended?: (task: Task) => Promise<void>;
  /** A further attempt begins. */
  retried?: (task: Task, attempt: number) => Promise<void>;
  /** The coordinator does not answer, and is tried again. */
  silent: (error: TaskError) => void;
  random?: () => number;
}

/**
 * Hands on the logs of a task from the given attempt to its end, each byte once and in order, also
 * when the coordinator goes away and comes back in between.
 *
 * @returns the finished task, or `undefined` once the signal aborted.
 */
export async function followTask(
  id: string,
  from: number,
  follower: Follower,
  /** The task as it was just seen; spares asking for it. */
  seen?: Task,
): Promise<Task | undefined> {
  const { tasks, signal } = follower;
  const position = { attempt: from, stdout: 0, stderr: 0 };
  const patiently = retryWhileUnavailable(follower);
  let last = seen;
  while (!signal.aborted) {
    const known = last !== undefined && reached(last, position.attempt) ? last : undefined;
    const task = known ?? await patiently(() => until(id, position.attempt, follower));
    if (task === undefined) break;
    last = task;
    const attempt = task.attempts.find((each) => each.attempt >= position.attempt);
    if (attempt === undefined) {
      await follower.ended?.(task);
      return task;
    }
    if (attempt.attempt > position.attempt) moveTo(position, attempt.attempt);
    if (position.attempt > from && position.stdout + position.stderr === 0) {
      await follower.retried?.(task, position.attempt);
    }
    // What an attempt wrote before it was lost is not in its sizes.
    const silent = isFinished(attempt.state) && attempt.state !== "lost" &&
      attempt.stdoutBytes + attempt.stderrBytes === 0;
    const read = silent || await patiently(async () => {
      for await (const piece of tasks.readLog(query(id, position), signal)) {
        if (piece.attempt !== position.attempt) moveTo(position, piece.attempt);
        const fresh = unread(piece, position[piece.stream]);
        position[piece.stream] = Math.max(position[piece.stream], piece.offset + piece.data.length);
        if (fresh.data.length > 0) await follower.piece(fresh, task);
      }
      return true;
    });
    if (read === undefined || signal.aborted) break;
    // This attempt has been read to its end: the next one is waited for, or the end of the task.
    moveTo(position, position.attempt + 1);
  }
  return undefined;
}

/** Follows the elements of an array, each as it starts. */
export async function followArray(
  ids: string[],
  follower: Follower,
): Promise<Task[] | undefined> {
  const { tasks, signal } = follower;
  const patiently = retryWhileUnavailable(follower);
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
  await patiently(async () => {
    for await (const task of tasks.watchTasks(ids, own.signal)) {
      if (started.has(task.id)) continue;
      if (task.attempts.length === 0 && !isFinished(task.state)) continue;
      while (running.size >= mostStreams) await Promise.race(running);
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

/** What of a piece was not handed on yet. */
function unread(piece: LogPiece, offset: number): LogPiece {
  if (piece.offset > offset) {
    throw new TaskError(
      "internal",
      `The coordinator left out ${piece.stream} from byte ${offset} to ${piece.offset}`,
    );
  }
  const known = offset - piece.offset;
  return known === 0 ? piece : { ...piece, offset, data: piece.data.subarray(known) };
}

/** Whether the task has this attempt or a later one, or has finished without. */
function reached(task: Task, attempt: number): boolean {
  return isFinished(task.state) || task.attempts.some((each) => each.attempt >= attempt);
}

/** Waits until the task has this attempt or a later one, or has finished without. */
async function until(id: string, attempt: number, follower: Follower): Promise<Task | undefined> {
  let last: Task | undefined;
  for await (const task of follower.tasks.watchTasks([id], follower.signal)) {
    last = task;
    if (reached(task, attempt)) break;
  }
  return follower.signal.aborted ? undefined : last;
}

/** Tries again while the coordinator is away; `undefined` once the signal aborted. */
export function retryWhileUnavailable(
  { clock, signal, silent, random = Math.random }: Pick<
    Follower,
    "clock" | "signal" | "silent" | "random"
  >,
  longestMs = longestSilenceMs,
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
        // A stream that had worked for a while begins a new silence.
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
