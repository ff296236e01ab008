import { anySignal } from "../deno/any_signal.ts";
import { limits } from "../tasks/limits.ts";
import {
  type FollowedItem,
  type FollowPosition,
  type LogOffsets,
  TaskError,
} from "../tasks/service.ts";
import { isFinished } from "../tasks/task.ts";
import { type CallContext, noSuchTask, tasksOf, throwIfStopping } from "./call_context.ts";
import type { FreshOutput } from "./fresh_output.ts";
import type { Logs } from "./logs.ts";
import type { Progress } from "./store.ts";
import { OpenTasks } from "./task_list.ts";

/** A part that has this much is given at once; a smaller one when there is no more for now. */
const full = { bytes: 128 * 1024, items: 250 };

/** Of one task, before the others get their turn. */
const turnBytes = 1024 * 1024;

/**
 * The output and the ends of tasks, in parts: of each task every byte once and in order, then its end.
 * Over when all have finished.
 *
 * @param positions where the caller stands in some of them; in the others at the first attempt.
 */
export async function* followTasks(
  context: CallContext & { logs: Logs },
  ids: readonly string[],
  positions: readonly FollowPosition[],
  signal: AbortSignal,
): AsyncGenerator<FollowedItem[]> {
  throwIfStopping(context);
  if (ids.length === 0 || Math.max(ids.length, positions.length) > limits.maxArray) {
    throw new TaskError("invalid", `One call follows from 1 to ${limits.maxArray} ids`);
  }
  const { logs, slices } = context;
  const distinct = new Set(ids);
  using subscription = logs.changes.subscribe([...distinct], positions.length);
  using fresh = logs.fresh.follow(distinct);
  using stop = anySignal(signal, context.stopping);
  const followed = await tasksOf(context, distinct, "whenever");
  const open = new OpenTasks(followed, true);
  /** Of those that have begun: where their output was given up to. */
  const begun = new Map(
    positions.map((
      { taskId, attempt, stdoutOffset, stderrOffset },
    ) => [taskId, { attempt, stdout: stdoutOffset, stderr: stderrOffset } as Position]),
  );
  let turn: Iterable<string> = followed;
  while (open.size > 0) {
    const part = new Part();
    const again = new Set<string>();
    for (const id of turn) {
      if (!open.has(id)) continue;
      const position = begun.get(id) ?? begin(1);
      const pause = slices.pace("whenever");
      if (pause !== undefined) await pause;
      if (signal.aborted) return;
      throwIfStopping(context);
      for await (const item of turnOf(context, fresh.output, id, position)) {
        if (item === "more") again.add(id);
        else part.add(item);
        if (!part.isFull) continue;
        yield part.take();
        if (signal.aborted) return;
      }
      if (position.isOver) open.set(id, false);
      if (position.isOver) begun.delete(id);
      else if (!isAtBegin(position)) begun.set(id, position);
    }
    if (!part.isEmpty) yield part.take();
    if (open.size === 0) return;
    if (again.size === 0) await subscription.wait(stop);
    await slices.pace("whenever");
    if (signal.aborted) return;
    throwIfStopping(context);
    turn = new Set([...again, ...subscription.take()]);
  }
}

interface Position extends LogOffsets {
  attempt: number;
  /** The attempt whose beginning was given last. */
  told?: number;
  /** Everything was given. */
  isOver?: boolean;
}

class Part {
  #items: FollowedItem[] = [];
  #bytes = 0;

  get isEmpty(): boolean {
    return this.#items.length === 0;
  }

  get isFull(): boolean {
    return this.#bytes >= full.bytes || this.#items.length >= full.items;
  }

  add(item: FollowedItem): void {
    this.#items.push(item);
    if ("piece" in item) this.#bytes += item.piece.data.length;
  }

  take(): FollowedItem[] {
    const items = this.#items;
    this.#items = [];
    this.#bytes = 0;
    return items;
  }
}

/** What there is of one task by now; `more` if there is more than its turn allows. */
async function* turnOf(
  { leaseTable, logs }: CallContext & { logs: Logs },
  fresh: FreshOutput,
  taskId: string,
  at: Position,
): AsyncGenerator<FollowedItem | "more"> {
  let bytes = 0;
  for (;;) {
    // Looked at before the bytes: what was written before the end is then read, too.
    const progress = leaseTable.store.progress(taskId);
    if (progress === undefined) throw noSuchTask(taskId);
    const attempt = progress.attempts.find((each) => each.attempt >= at.attempt);
    if (attempt === undefined) {
      if (!isFinished(progress.state)) return;
      const task = leaseTable.store.task(taskId);
      if (task === undefined) throw noSuchTask(taskId);
      at.isOver = true;
      yield { finished: task };
      return;
    }
    if (attempt.attempt > at.attempt) Object.assign(at, begin(attempt.attempt));
    if (at.attempt > 1 && at.stdout + at.stderr === 0 && at.told !== at.attempt) {
      at.told = at.attempt;
      yield { taskId, begun: at.attempt };
    }
    const isOver = logs.uploaded(taskId, at.attempt) === undefined &&
      (isFinished(attempt.state) || isFinished(progress.state));
    const end = endOf(leaseTable, taskId, attempt);
    if (end === undefined || end.stdout > at.stdout || end.stderr > at.stderr) {
      const next = (stream: keyof LogOffsets, offset: number) =>
        fresh.take(taskId, at.attempt, stream, offset);
      for await (const piece of logs.pieces(taskId, at.attempt, at, { next, end })) {
        yield { taskId, piece };
        bytes += piece.data.length;
        if (bytes < turnBytes) continue;
        yield "more";
        return;
      }
    }
    if (!isOver) return;
    fresh.drop(taskId, at.attempt);
    Object.assign(at, begin(at.attempt + 1));
  }
}

function isAtBegin({ attempt, stdout, stderr }: Position): boolean {
  return attempt === 1 && stdout + stderr === 0;
}

function begin(attempt: number): Position {
  return { attempt, stdout: 0, stderr: 0 };
}

/** What is stored of an attempt; undefined where only its files tell. */
function endOf(
  leaseTable: CallContext["leaseTable"],
  taskId: string,
  { attempt, state, stdoutBytes, stderrBytes }: Progress["attempts"][number],
): LogOffsets | undefined {
  const lease = leaseTable.leases.get(taskId);
  if (lease?.ref.attempt === attempt) {
    // Of an attempt of an earlier start of the coordinator it is known once more output came.
    const isKnown = lease.assignedAt !== undefined || lease.logged.stdout + lease.logged.stderr > 0;
    return isKnown ? lease.logged : undefined;
  }
  // The sizes of a lost attempt do not count what it wrote.
  return isFinished(state) && state !== "lost"
    ? { stdout: stdoutBytes, stderr: stderrBytes }
    : undefined;
}
