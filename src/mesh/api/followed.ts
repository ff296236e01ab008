/** What many tasks write, and how they end, in one answer. */
import type { ServerResponse } from "node:http";
import { taskViewsOnce, textOrBase64 } from "../../client/views.ts";
import { HttpProblem } from "../../http/problem.ts";
import { goneSignal, writePiece } from "../../http/stream.ts";
import { limits } from "../../tasks/limits.ts";
import {
  type FollowedItem,
  type FollowPosition,
  TaskError,
  type TaskService,
} from "../../tasks/service.ts";
import type { Task } from "../../tasks/task.ts";
import { alreadySent, type ApiContext, isAttempt, type Node, readJson } from "./context.ts";
import { beginLines, firstOrLater, send } from "./streamed.ts";

/** An id and a position for each element of the largest array. */
const most = { bytes: 4 * 1024 * 1024, values: 7 * limits.maxArray };

export async function sendFollowed(
  context: ApiContext,
  tasks: TaskService,
  node: Node,
): Promise<Response> {
  const { ids, positions } = readFollow(await readJson(context, most));
  if (tasks.followTasks === undefined) {
    throw new TaskError("unsupported", "The coordinators cannot be followed in one stream");
  }
  const { outgoing } = context.env as { outgoing: ServerResponse };
  const parts = tasks.followTasks(ids, positions, goneSignal(outgoing))[Symbol.asyncIterator]();
  const first = parts.next();
  await firstOrLater(first, node);
  beginLines(outgoing);
  outgoing.flushHeaders();
  const finishedView = taskViewsOnce();
  void send(outgoing, node, async () => {
    for (let next = await first; !next.done; next = await parts.next()) {
      const lines = next.value.map((item) => JSON.stringify(itemView(item, finishedView)) + "\n");
      if (!await writePiece(outgoing, lines.join(""))) break;
    }
    await parts.return?.();
  });
  return alreadySent();
}

function itemView(item: FollowedItem, finishedView: (task: Task) => object): object {
  if ("finished" in item) return { finished: finishedView(item.finished) };
  const { taskId } = item;
  if ("begun" in item) return { task_id: taskId, begun: item.begun };
  const { attempt, stream, offset, data } = item.piece;
  return { task_id: taskId, attempt, stream, offset, ...textOrBase64(data, "data") };
}

/** @throws {HttpProblem} where the body is something else. */
function readFollow(json: unknown): { ids: string[]; positions: FollowPosition[] } {
  const { ids, positions = [] } = (json ?? {}) as Record<string, unknown>;
  const isList = Array.isArray(ids) && ids.every((id) => typeof id === "string");
  if (!isList || ids.length === 0 || ids.length > limits.maxArray) {
    throw new HttpProblem(400, `The body needs "ids", a list of 1 to ${limits.maxArray} texts`);
  }
  if (!Array.isArray(positions)) throw new HttpProblem(400, '"positions" must be a list');
  return { ids, positions: positions.map(readPosition) };
}

function readPosition(json: unknown): FollowPosition {
  const { task_id: taskId, ...numbers } = (json ?? {}) as Record<string, unknown>;
  const { attempt, stdout_offset: stdoutOffset = 0, stderr_offset: stderrOffset = 0 } = numbers;
  const isCount = (value: unknown): value is number =>
    Number.isSafeInteger(value) && value as number >= 0;
  if (
    typeof taskId === "string" && isAttempt(attempt) && isCount(stdoutOffset) &&
    isCount(stderrOffset)
  ) {
    return { taskId, attempt, stdoutOffset, stderrOffset };
  }
  throw new HttpProblem(
    400,
    'A position needs "task_id", a text, and "attempt", a number; "stdout_offset" and ' +
      '"stderr_offset" are numbers',
  );
}
