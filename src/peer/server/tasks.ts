import { limits } from "../../tasks/limits.ts";
import type { TaskService } from "../../tasks/service.ts";
import type { Task } from "../../tasks/task.ts";
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
      const { array, idempotencyKey } = request;
      return await tasks.submit(specFrom(request.spec), {
        ...(array === undefined ? {} : { array: { first: array.first, last: array.last } }),
        ...(idempotencyKey === "" ? {} : { idempotencyKey }),
      });
    }),
    getTask: streaming(serving, async function* (request: wire.GetTaskRequest) {
      yield* taskParts(await tasks.getTask(request.id));
    }),
    listTasks: streaming(serving, async function* (request: wire.ListTasksRequest) {
      const { before } = request;
      const { tasks: found, more } = await tasks.listTasks({
        states: request.states.map(stateFrom),
        limit: request.limit,
        ...(before === "" ? {} : { before }),
      });
      for (const part of taskParts(found)) yield { ...part, more };
    }),
    watchTasks: streaming(serving, async function* (request: wire.WatchTasksRequest, signal) {
      for await (const task of tasks.watchTasks(request.ids, signal)) {
        yield { task: wireTask(task) };
      }
    }),
    cancelTask: streaming(serving, async function* (request: wire.CancelTaskRequest) {
      yield* taskParts(await tasks.cancelTask(request.id));
    }),
    retryTask: streaming(serving, async function* (request: wire.RetryTaskRequest) {
      yield* taskParts(await tasks.retryTask(request.id));
    }),
    readLog: reading(serving, noLog, async function* (request: wire.ReadLogRequest, signal) {
      const pieces = tasks.readLog({
        taskId: request.taskId,
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
      const found = await tasks.listArtifacts(request.taskId, attempt);
      const bytesOf = (item: wire.Artifact) => item.path.length * 3 + 100;
      for (const artifacts of parts(found.map(wireArtifact), bytesOf)) yield { artifacts };
    }),
    readArtifact: reading(
      serving,
      noBytes,
      async function* (request: wire.ReadArtifactRequest, signal) {
        const pieces = tasks.readArtifact({
          taskId: request.taskId,
          ...attemptOf(request.attempt),
          path: request.path,
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
