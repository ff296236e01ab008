/** Following many tasks over a node's REST API, in one answer. */
import {
  type FollowedItem,
  type FollowPosition,
  type LogPiece,
  TaskError,
} from "../tasks/service.ts";
import { bytesOf, type ListedTask, taskReader } from "./from_views.ts";
import type { NodeClient } from "./node_client.ts";
import { lines, parse, stream } from "./node_streams.ts";
import { isUnknownRoute } from "./task_errors.ts";

/** A line of the answer. */
type ItemJson =
  | { finished: ListedTask }
  | { task_id: string; begun: number }
  | (Omit<LogPiece, "data"> & { task_id: string; data?: string; data_base64?: string });

/** As `TaskService.followTasks`. */
export async function* followTasks(
  node: NodeClient,
  ids: readonly string[],
  positions: readonly FollowPosition[],
  signal: AbortSignal,
): AsyncGenerator<FollowedItem[]> {
  const json = {
    ids,
    positions: positions.map(({ taskId, attempt, stdoutOffset, stderrOffset }) => ({
      ...{ task_id: taskId, attempt },
      ...{ stdout_offset: stdoutOffset, stderr_offset: stderrOffset },
    })),
  };
  const taskFrom = taskReader();
  try {
    for await (const line of lines(stream(node, "/api/tasks/follow", signal, { json }), "\n")) {
      const item = parse(line) as ItemJson;
      if ("finished" in item) yield [{ finished: taskFrom(item.finished) }];
      else if ("begun" in item) yield [{ taskId: item.task_id, begun: item.begun }];
      else {
        const { task_id: taskId, attempt, stream, offset, data, data_base64: base64 } = item;
        yield [{ taskId, piece: { attempt, stream, offset, data: bytesOf(data, base64) } }];
      }
    }
  } catch (error) {
    const refusal = error instanceof TaskError ? error.cause : undefined;
    throw isUnknownRoute(refusal) ? new TaskError("unsupported", refusal.message) : error;
  }
}
