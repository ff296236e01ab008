import { limits } from "../../tasks/limits.ts";
import { TaskError, type TaskService } from "../../tasks/service.ts";
import type { Task } from "../../tasks/task.ts";
import { checkCount, checkId, checkRelativePath, checkSpec, checkText } from "../check.ts";
import { numberFrom, specFrom, stateFrom } from "../from_wire.ts";
import * as wire from "../gen/agent/v1/agent.ts";
import { wireArtifact, wireBytes, wireStream, wireTask } from "../to_wire.ts";
import { parts, reading, type Serving, streaming, unary } from "./calls.ts";

const noBytes = { offset: 0n, data: wireBytes(new Uint8Array()) };
const noLog = { ...noBytes, attempt: 0, stream: wire.Stream.STREAM_UNSPECIFIED };

/** `agent.v1.TaskService`: what clients ask about tasks. */
export function tasksHandlers(tasks: TaskService, serving: Serving): wire.TaskServiceServer {
  return {
    submit: unary(serving, async (request: wire.SubmitRequest) => {
      const spec = checkSpec(specFrom(request.spec));
      const { array, idempotencyKey } = request;
      if (array !== undefined) checkArray(array);
      checkText("Idempotency key", idempotencyKey, limits.maxIdempotencyKeyLength);
      return await tasks.submit(spec, {
        ...(array === undefined ? {} : { array: { first: array.first, last: array.last } }),
        ...(idempotencyKey === "" ? {} : { idempotencyKey }),
      });
    }),
    getTask: streaming(serving, async function* (request: wire.GetTaskRequest) {
      yield* taskParts(await tasks.getTask(checkId("Task id", request.id)));
    }),
    listTasks: streaming(serving, async function* (request: wire.ListTasksRequest) {
      const { before } = request;
      const { tasks: found, more } = await tasks.listTasks({
        states: request.states.map(stateFrom),
        limit: checkCount("Limit", request.limit, mostListed) || defaultListed,
        ...(before === "" ? {} : { before: checkId("Task id", before) }),
      });
      for (const part of taskParts(found)) yield { ...part, more };
    }),
    watchTasks: streaming(serving, async function* (request: wire.WatchTasksRequest, signal) {
      checkCount("Number of tasks", request.ids.length, limits.maxArray);
      const ids = request.ids.map((id) => checkId("Task id", id));
      for await (const task of tasks.watchTasks(ids, signal)) yield { task: wireTask(task) };
    }),
    cancelTask: streaming(serving, async function* (request: wire.CancelTaskRequest) {
      yield* taskParts(await tasks.cancelTask(checkId("Task id", request.id)));
    }),
    retryTask: streaming(serving, async function* (request: wire.RetryTaskRequest) {
      yield* taskParts(await tasks.retryTask(checkId("Task id", request.id)));
    }),
    readLog: reading(serving, noLog, async function* (request: wire.ReadLogRequest, signal) {
      const pieces = tasks.readLog({
        taskId: checkId("Task id", request.taskId),
        ...attemptOf(request.attempt),
        follow: request.follow,
        stdoutOffset: numberFrom(request.stdoutOffset),
        stderrOffset: numberFrom(request.stderrOffset),
      }, signal);
      for await (const { attempt, stream, offset, data } of pieces) {
        for (const chunk of chunks(data)) {
          const at = BigInt(offset + chunk.at);
          const bytes = wireBytes(chunk.data);
          yield { attempt, stream: wireStream[stream], offset: at, data: bytes };
        }
      }
    }),
    listArtifacts: streaming(serving, async function* (request: wire.ListArtifactsRequest) {
      const { attempt } = attemptOf(request.attempt);
      const found = await tasks.listArtifacts(checkId("Task id", request.taskId), attempt);
      const bytesOf = (item: wire.Artifact) => item.path.length * 3 + 100;
      for (const artifacts of parts(found.map(wireArtifact), bytesOf)) yield { artifacts };
    }),
    readArtifact: reading(
      serving,
      noBytes,
      async function* (request: wire.ReadArtifactRequest, signal) {
        const pieces = tasks.readArtifact({
          taskId: checkId("Task id", request.taskId),
          ...attemptOf(request.attempt),
          path: checkRelativePath("Artifact path", request.path),
          offset: numberFrom(request.offset),
        }, signal);
        for await (const { offset, data } of pieces) {
          for (const chunk of chunks(data)) {
            yield { offset: BigInt(offset + chunk.at), data: wireBytes(chunk.data) };
          }
        }
      },
    ),
  };
}

/** The bounds that agent.proto gives to ListTasksRequest.limit. */
const mostListed = 1000;
const defaultListed = 100;

function checkArray({ first, last }: wire.ArrayRange): void {
  if (last < first) {
    throw new TaskError("invalid", `The array ${first}-${last} ends before it begins`);
  }
  checkCount("Number of elements of the array", last - first + 1, limits.maxArray);
}

function attemptOf(attempt: number): { attempt?: number } {
  return attempt === 0 ? {} : { attempt };
}

function* taskParts(tasks: Task[]): Generator<{ tasks: wire.Task[] }> {
  const bytesOf = (task: wire.Task) => wire.Task.encode(task).finish().length;
  for (const part of parts(tasks.map(wireTask), bytesOf)) yield { tasks: part };
}

/** The store reads in pieces of its own choice. */
function* chunks(data: Uint8Array): Generator<{ at: number; data: Uint8Array }> {
  for (let at = 0; at < data.length; at += limits.maxChunkBytes) {
    yield { at, data: data.subarray(at, at + limits.maxChunkBytes) };
  }
}
