import { limits } from "../../tasks/limits.ts";
import type { TaskServer } from "../../tasks/service.ts";
import { newSpecs } from "../../tasks/repeated_specs.ts";
import type { Artifact, Task } from "../../tasks/task.ts";
import { numberFrom, specFrom, stateFrom } from "../from_wire.ts";
import * as wire from "../gen/agent/v1/agent.ts";
import {
  followedBytes,
  followedItemBytes,
  taskBytes,
  wireArtifact,
  wireBytes,
  wireFollowed,
  wireStream,
  wireTask,
} from "../to_wire.ts";
import { packed, parts, reading, type Serving, streaming, unary } from "./calls.ts";

const noBytes = { offset: 0n, data: wireBytes(new Uint8Array()) };
const noLog = { ...noBytes, attempt: 0, stream: wire.Stream.STREAM_UNSPECIFIED };
const bytesOf = ({ data }: { data: Uint8Array }) => data.length;

/** `agent.v1.TaskService`: what clients ask about tasks. */
export function tasksHandlers(tasks: TaskServer, serving: Serving): wire.TaskServiceServer {
  return { ...taskHandlers(tasks, serving), ...dataHandlers(tasks, serving) };
}

/** `Pick`, because `Omit` forgets the names of a type with an index signature. */
type Handlers<Names extends keyof wire.TaskServiceServer> = Pick<wire.TaskServiceServer, Names>;

function taskHandlers(tasks: TaskServer, serving: Serving): Handlers<
  | "submit"
  | "getTask"
  | "listTasks"
  | "watchTasks"
  | "cancelTask"
  | "retryTask"
  | "deleteTask"
  | "pruneTasks"
> {
  return {
    submit: unary(serving, async (request: wire.SubmitRequest, submitter) => {
      const { array, moreRanges, lines, idempotencyKey } = request;
      const more = moreRanges.length === 0 ? {} : { more: moreRanges };
      return await tasks.submit(specFrom(request.spec), {
        ...(array === undefined ? {} : { array: { ...array, ...more } }),
        ...(lines.length === 0 ? {} : { lines }),
        ...(idempotencyKey === "" ? {} : { idempotencyKey }),
        ...(submitter === undefined ? {} : { submitter }),
      });
    }),
    getTask: streaming(
      serving,
      (request: wire.GetTaskRequest) => taskParts(tasks.getTask(request.id), request),
    ),
    listTasks: streaming(serving, async function* (request: wire.ListTasksRequest) {
      const { before, submitter } = request;
      const { tasks: found, more } = await tasks.listTasks({
        states: request.states.map(stateFrom),
        limit: request.limit,
        ...(before === "" ? {} : { before }),
        ...(submitter === "" ? {} : { submitter }),
      });
      for await (const part of taskParts(found, request)) yield { ...part, more };
    }),
    watchTasks: streaming(serving, async function* (request: wire.WatchTasksRequest, signal) {
      const needsSpec = neededSpecs(request);
      if (request.ids.length === 0 && request.deletions) {
        for await (const change of tasks.watchChanges(signal, request.onlyChanges)) {
          yield "task" in change
            ? { task: wireTask(change.task, needsSpec(change.task)), deletedId: "" }
            : { task: undefined, deletedId: change.deletedId };
        }
        return;
      }
      for await (const task of tasks.watchTasks(request.ids, signal)) {
        yield { task: wireTask(task, needsSpec(task)), deletedId: "" };
      }
    }),
    cancelTask: streaming(
      serving,
      (request: wire.CancelTaskRequest) => taskParts(tasks.cancelTask(request.id), request),
    ),
    retryTask: streaming(
      serving,
      (request: wire.RetryTaskRequest) => taskParts(tasks.retryTask(request.id), request),
    ),
    deleteTask: streaming(
      serving,
      (request: wire.DeleteTaskRequest) => taskParts(tasks.deleteTask(request.id), request),
    ),
    pruneTasks: streaming(serving, async function* (request: wire.PruneTasksRequest) {
      const pruned = tasks.pruneTasks({
        olderThanMs: numberFrom(request.olderThanMs),
        states: request.states.map(stateFrom),
        dryRun: request.dryRun,
      });
      for await (const { tasks: count, bytes } of pruned) {
        yield { tasks: BigInt(count), bytes: BigInt(bytes) };
      }
    }),
  };
}

/** What tasks wrote. */
function dataHandlers(
  tasks: TaskServer,
  serving: Serving,
): Handlers<"readLog" | "followTasks" | "listArtifacts" | "readArtifact" | "getArtifacts"> {
  return {
    readLog: reading(
      serving,
      { last: noLog, bytesOf },
      async function* (request: wire.ReadLogRequest, signal) {
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
      },
    ),
    followTasks: reading(
      serving,
      { last: { items: [] }, bytesOf: followedBytes },
      async function* (request: wire.FollowTasksRequest, signal) {
        const positions = request.positions.map((each) => ({
          taskId: each.taskId,
          attempt: each.attempt,
          stdoutOffset: numberFrom(each.stdoutOffset),
          stderrOffset: numberFrom(each.stderrOffset),
        }));
        const needsSpec = neededSpecs(request);
        for await (const items of tasks.followTasks(request.ids, positions, signal)) {
          const each = items.map((item) => ({
            item,
            spec: "finished" in item && needsSpec(item.finished),
          }));
          for (const part of parts(each, ({ item, spec }) => followedItemBytes(item, spec))) {
            yield { items: part.map(({ item, spec }) => wireFollowed(item, spec)) };
          }
        }
      },
    ),
    listArtifacts: streaming(serving, async function* (request: wire.ListArtifactsRequest) {
      const { attempt } = attemptOf(request.attempt);
      const only = request.path === "" ? undefined : request.path;
      const found = tasks.listArtifacts(request.taskId, attempt, only);
      const bytesOf = ({ path }: Artifact) => path.length * 3 + 100;
      for await (const part of packed(found, bytesOf)) yield { artifacts: part.map(wireArtifact) };
    }),
    getArtifacts: unary(serving, async ({ taskId, attempt, paths }: wire.GetArtifactsRequest) => ({
      files: (await tasks.getArtifacts(taskId, attempt, paths)).map(wireBytes),
    })),
    readArtifact: reading(
      serving,
      { last: noBytes, bytesOf },
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

/** Whether the reader of a stream of tasks needs the spec of the next one. */
function neededSpecs({ specsOnce }: { specsOnce: boolean }): (task: Task) => boolean {
  return specsOnce ? newSpecs() : () => true;
}

async function* taskParts(
  tasks: AsyncIterable<Task>,
  request: { specsOnce: boolean },
): AsyncGenerator<{ tasks: wire.Task[] }> {
  const needsSpec = neededSpecs(request);
  const encoded = async function* () {
    for await (const task of tasks) {
      const spec = needsSpec(task);
      yield { task: wireTask(task, spec), bytes: taskBytes(task, spec) };
    }
  };
  for await (const part of packed(encoded(), ({ bytes }) => bytes)) {
    yield { tasks: part.map(({ task }) => task) };
  }
}

/** The store reads in pieces of its own choice. */
function* chunks(data: Uint8Array): Generator<{ at: number; data: Uint8Array }> {
  for (let at = 0; at < data.length; at += limits.maxChunkBytes) {
    yield { at, data: data.subarray(at, at + limits.maxChunkBytes) };
  }
}
