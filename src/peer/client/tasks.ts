import type { TaskService } from "../../tasks/service.ts";
import type { Task, WorkerInfo } from "../../tasks/task.ts";
import {
  artifactFrom,
  entryFrom,
  followedFrom,
  numberFrom,
  stateChangeFrom,
  streamFrom,
  taskReader,
  workerFrom,
} from "../from_wire.ts";
import * as wire from "../gen/agent/v1/agent.ts";
import { followedBytes, wireBytes, wireSpec, wireState } from "../to_wire.ts";
import { callTimes, type Dialled } from "./channel.ts";
import { ask, read, readBytes } from "./read.ts";

/** The client half of the task service, over one connection. */
export function remoteTasks(dialled: Dialled): TaskService {
  return {
    ...taskCalls(dialled),
    ...dataCalls(dialled),
    ...workerCalls(dialled),
    ...stateCalls(dialled),
  };
}

const tasks = wire.TaskServiceService;
const fleet = wire.FleetServiceService;
const state = wire.StateServiceService;

/** For answers that come in parts but without waiting. */
const soon = { timeoutMs: callTimes.answerMs } as const;

async function gather(parts: AsyncIterable<{ tasks: wire.Task[] }>): Promise<Task[]> {
  const found: Task[] = [];
  const taskFrom = taskReader();
  for await (const part of parts) found.push(...part.tasks.map(taskFrom));
  return found;
}

/** Asks for an array's spec once, not with each element. */
const specsOnce = true;
const once = (id: string) => ({ id, specsOnce });

const dataBytes = ({ data }: { data: Uint8Array }) => data.length;

type Calls<Names extends keyof TaskService> = Pick<TaskService, Names>;

function taskCalls(
  dialled: Dialled,
): Calls<
  | "submit"
  | "getTask"
  | "listTasks"
  | "watchTasks"
  | "watchChanges"
  | "cancelTask"
  | "retryTask"
  | "deleteTask"
  | "pruneTasks"
> {
  return {
    submit: (spec, { array, lines = [], idempotencyKey = "" } = {}) =>
      ask(dialled, tasks.submit, {
        spec: wireSpec(spec),
        array,
        idempotencyKey,
        moreRanges: array?.more ?? [],
        lines: [...lines],
      }),
    getTask: (id) => gather(read(dialled, tasks.getTask, once(id), soon)),
    async listTasks({ states = [], limit = 0, before = "", submitter = "" }) {
      const wanted = states.map((each) => wireState[each]);
      const request = { states: wanted, limit, before, submitter, specsOnce };
      const taskFrom = taskReader();
      const found: Task[] = [];
      let more = false;
      for await (const part of read(dialled, tasks.listTasks, request, soon)) {
        found.push(...part.tasks.map(taskFrom));
        more = part.more;
      }
      return { tasks: found, more };
    },
    async *watchTasks(ids, signal) {
      const request = { ids, deletions: false, specsOnce, onlyChanges: false };
      const taskFrom = taskReader();
      const parts = read(dialled, tasks.watchTasks, request, { signal });
      for await (const part of parts) yield taskFrom(part.task);
    },
    async *watchChanges(signal, onlyChanges = false) {
      const request = { ids: [], deletions: true, specsOnce, onlyChanges };
      const taskFrom = taskReader();
      for await (const part of read(dialled, tasks.watchTasks, request, { signal })) {
        const { task, deletedId } = part;
        yield deletedId === "" ? { task: taskFrom(task) } : { deletedId };
      }
    },
    cancelTask: (id) => gather(read(dialled, tasks.cancelTask, once(id), soon)),
    retryTask: (id) => gather(read(dialled, tasks.retryTask, once(id), soon)),
    // Without a deadline: removing the files of thousands of tasks takes its time.
    deleteTask: (id) => gather(read(dialled, tasks.deleteTask, once(id))),
    async pruneTasks({ olderThanMs, states = [], dryRun = false }) {
      const request = {
        olderThanMs: BigInt(olderThanMs),
        states: states.map((each) => wireState[each]),
        dryRun,
      };
      let pruned = { tasks: 0, bytes: 0 };
      for await (const part of read(dialled, tasks.pruneTasks, request)) {
        pruned = { tasks: numberFrom(part.tasks), bytes: numberFrom(part.bytes) };
      }
      return pruned;
    },
  };
}

function dataCalls(
  dialled: Dialled,
): Calls<"readLog" | "followTasks" | "listArtifacts" | "readArtifact" | "getArtifacts"> {
  return {
    async *readLog(
      { taskId, attempt = 0, follow = false, stdoutOffset = 0, stderrOffset = 0 },
      signal,
    ) {
      const request = {
        taskId,
        attempt,
        follow,
        stdoutOffset: BigInt(stdoutOffset),
        stderrOffset: BigInt(stderrOffset),
      };
      const message = (window: wire.ReadWindow) => ({ ...request, window });
      for await (const piece of readBytes(dialled, tasks.readLog, message, dataBytes, signal)) {
        const { attempt, stream, offset, data } = piece;
        yield { attempt, stream: streamFrom(stream), offset: numberFrom(offset), data };
      }
    },
    async *followTasks(ids, positions, signal) {
      const request = {
        ids: [...ids],
        positions: positions.map(({ taskId, attempt, stdoutOffset, stderrOffset }) => ({
          ...{ taskId, attempt },
          ...{ stdoutOffset: BigInt(stdoutOffset), stderrOffset: BigInt(stderrOffset) },
        })),
        specsOnce,
      };
      // In later messages they say nothing.
      const later = { ids: [], positions: [], specsOnce: false };
      const message = (window: wire.ReadWindow) => ({
        ...(window.bytes > 0n ? request : later),
        window,
      });
      const parts = readBytes(dialled, tasks.followTasks, message, followedBytes, signal);
      const taskFrom = taskReader();
      for await (const { items } of parts) {
        yield items.flatMap((item) => followedFrom(item, taskFrom) ?? []);
      }
    },
    async listArtifacts(taskId, attempt = 0, path = "") {
      const parts = read(dialled, tasks.listArtifacts, { taskId, attempt, path }, soon);
      const found = [];
      for await (const part of parts) found.push(...part.artifacts.map(artifactFrom));
      return found;
    },
    async getArtifacts(taskId, attempt, paths) {
      const request = { taskId, attempt, paths: [...paths] };
      return (await ask(dialled, tasks.getArtifacts, request)).files;
    },
    async *readArtifact({ taskId, attempt = 0, path, offset = 0 }, signal) {
      const request = { taskId, attempt, path, offset: BigInt(offset) };
      const message = (window: wire.ReadWindow) => ({ ...request, window });
      for await (
        const piece of readBytes(dialled, tasks.readArtifact, message, dataBytes, signal)
      ) {
        yield { offset: numberFrom(piece.offset), data: piece.data };
      }
    },
  };
}

function workerCalls(
  dialled: Dialled,
): Calls<"listWorkers" | "drainWorker" | "resumeWorker" | "forgetWorker"> {
  return {
    async listWorkers() {
      const found: WorkerInfo[] = [];
      for await (const part of read(dialled, fleet.listWorkers, {}, soon)) {
        found.push(...part.workers.map(workerFrom));
      }
      return found;
    },
    async drainWorker(workerId) {
      const answer = await ask(dialled, fleet.drainWorker, { workerId });
      return workerFrom(answer.worker);
    },
    async resumeWorker(workerId) {
      const answer = await ask(dialled, fleet.resumeWorker, { workerId });
      return workerFrom(answer.worker);
    },
    async forgetWorker(workerId) {
      const answer = await ask(dialled, fleet.forgetWorker, { workerId });
      return workerFrom(answer.worker);
    },
  };
}

function stateCalls(
  dialled: Dialled,
): Calls<"getState" | "putState" | "deleteState" | "listState" | "watchState"> {
  return {
    async getState(namespace, key) {
      const answer = await ask(dialled, state.getState, { namespace, key });
      return entryFrom(answer.entry);
    },
    async putState(namespace, key, value, expected) {
      const ifRevision = expected === undefined ? undefined : BigInt(expected);
      const request = { namespace, key, value: wireBytes(value), ifRevision };
      return entryFrom((await ask(dialled, state.putState, request)).entry);
    },
    async deleteState(namespace, key, expected) {
      const ifRevision = expected === undefined ? undefined : BigInt(expected);
      const request = { namespace, key, ifRevision };
      const answer = await ask(dialled, state.deleteState, request);
      return { revision: numberFrom(answer.revision) };
    },
    async listState(namespace, prefix) {
      const parts = read(dialled, state.listState, { namespace, prefix }, soon);
      const found = [];
      for await (const part of parts) found.push(...part.entries.map(entryFrom));
      return found;
    },
    async *watchState(namespace, prefix, signal) {
      const parts = read(dialled, state.watchState, { namespace, prefix }, { signal });
      for await (const part of parts) {
        const change = stateChangeFrom(part);
        if (change !== undefined) yield change;
      }
    },
  };
}
