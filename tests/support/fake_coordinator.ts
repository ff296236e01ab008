import { aborted } from "../../src/base/lifetimes.ts";
import { servedAnswers } from "./answers.ts";
import {
  type ArtifactUpload,
  type LogUpload,
  TaskError,
  type TaskServer,
  type TaskService,
  type WorkerHello,
  type WorkerServer,
  type WorkerSink,
} from "../../src/tasks/service.ts";
import type {
  AttemptRef,
  AttemptResult,
  Task,
  TaskSpec,
  WorkerInfo,
} from "../../src/tasks/task.ts";

/** A coordinator without rules, for tests of the wire: it records every call. */
export interface FakeCoordinator {
  tasks: TaskServer;
  workers: WorkerServer;
  hellos: WorkerHello[];
  /** Sink of the newest session. */
  sink: () => WorkerSink;
  events: unknown[];
  /** Received bytes, by the name of the stream or artifact. */
  received: Map<string, Uint8Array[]>;
  /** Awaited before each append, for tests of back-pressure. */
  beforeAppend: () => Promise<void>;
  /** The start values of sessions. */
  times: { heartbeatMs: number; leaseMs: number };
  added: Task[];
}

export const sampleSpec: TaskSpec = {
  argv: ["sh", "-c", "echo ü\n"],
  env: { NAME: "value", __proto__x: "1" },
  cwd: undefined,
  selector: { gpu: "no" },
  timeoutMs: 60_000,
  retries: 2,
  retryDelayMs: 1000,
  artifacts: ["out/*"],
};

export function sampleTask(id: string, spec: TaskSpec = sampleSpec): Task {
  return {
    id,
    spec,
    state: "running",
    submittedAt: 1_700_000_000_123,
    finishedAt: undefined,
    attempts: [{
      attempt: 1,
      fence: 7,
      workerId: "w1",
      state: "running",
      assignedAt: 1_700_000_000_200,
      startedAt: 1_700_000_000_300,
      finishedAt: undefined,
      exitCode: undefined,
      signal: undefined,
      reason: undefined,
      stdoutBytes: 3,
      stderrBytes: 0,
      superseded: false,
    }],
    arrayId: undefined,
    arrayIndex: 0,
    notBefore: undefined,
    cancelRequested: false,
    reason: undefined,
  };
}

const sampleWorker: WorkerInfo = {
  id: "w1",
  version: "0.1.0",
  labels: { gpu: "no" },
  slots: 4,
  running: 1,
  assigned: 1,
  health: "healthy",
  draining: false,
  connected: true,
  connectedAt: 1_700_000_000_000,
  lastHeartbeatAt: 1_700_000_000_500,
  address: "127.0.0.1:5",
  identity: "CN=w1",
  warnings: ["mend me"],
};

export function fakeCoordinator(): FakeCoordinator {
  let sink: WorkerSink | undefined;
  const state = new Map<string, { value: Uint8Array; revision: number }>();
  const find = (id: string): Task[] => {
    const found = fake.added.filter((task) => task.id === id || task.arrayId === id);
    if (found.length === 0) throw new TaskError("not_found", `There is no task "${id}"`);
    return found;
  };
  const entry = (namespace: string, key: string) => {
    const found = state.get(`${namespace}/${key}`);
    if (found === undefined) throw new TaskError("not_found", `There is no key "${key}"`);
    return { namespace, key, ...found, updatedAt: 1_700_000_000_000 };
  };
  const checkRevision = (namespace: string, key: string, expected: number | undefined) => {
    const revision = state.get(`${namespace}/${key}`)?.revision ?? 0;
    if (expected !== undefined && expected !== revision) {
      throw new TaskError("conflict", `The revision is ${revision}`, revision);
    }
    return revision;
  };
  const fake: FakeCoordinator = {
    hellos: [],
    events: [],
    received: new Map(),
    added: [],
    sink: () => sink!,
    beforeAppend: () => Promise.resolve(),
    times: { heartbeatMs: 1_000, leaseMs: 15_000 },
    tasks: servedAnswers(
      {
        submit(spec, options) {
          if (spec.argv[0] === "boom") throw new Error("secret internals");
          const id = `t${fake.added.length + 1}`;
          fake.added.push({ ...sampleTask(id, spec), reason: options?.idempotencyKey });
          return Promise.resolve({ id, taskIds: [id], existing: false });
        },
        getTask: (id) => Promise.resolve().then(() => find(id)),
        listTasks: ({ limit }) =>
          Promise.resolve({ tasks: fake.added.slice(0, limit), more: true }),
        async *watchTasks(ids, signal) {
          for (const id of ids) yield find(id)[0]!;
          await new Promise<void>((resolve) =>
            signal.addEventListener("abort", () => resolve(), { once: true })
          );
          fake.events.push(["unwatched"]);
        },
        async *watchChanges() {},
        cancelTask: (id) => Promise.resolve(find(id)),
        retryTask: (id) => Promise.resolve(find(id)),
        deleteTask: (id) => Promise.resolve(find(id)),
        pruneTasks(query) {
          fake.events.push(["prune", query]);
          return Promise.resolve({ tasks: 12, bytes: 3_000 });
        },
        async *readLog({ taskId, stdoutOffset = 0 }) {
          const pieces = fake.received.get(`${taskId} stdout`) ?? [];
          let offset = 0;
          for (const data of pieces) {
            if (offset >= stdoutOffset) {
              yield { attempt: 1, stream: "stdout" as const, offset, data };
            }
            offset += data.length;
            await Promise.resolve();
          }
        },
        listArtifacts: (taskId) =>
          Promise.resolve([{
            path: taskId,
            size: 3,
            sha256: "0".repeat(64),
            mode: 0o644,
            attempt: 1,
          }]),
        async *readArtifact() {
          yield await Promise.resolve({ offset: 0, data: new Uint8Array(3 * 1024 * 1024).fill(7) });
        },
        listWorkers: () => Promise.resolve([sampleWorker]),
        drainWorker: (id) => Promise.resolve({ ...sampleWorker, id, draining: true }),
        resumeWorker: (id) => Promise.resolve({ ...sampleWorker, id }),
        forgetWorker: (id) => Promise.resolve({ ...sampleWorker, id, connected: false }),
        getState: (namespace, key) => Promise.resolve().then(() => entry(namespace, key)),
        putState: (namespace, key, value, expected) =>
          Promise.resolve().then(() => {
            const revision = checkRevision(namespace, key, expected) + 1;
            state.set(`${namespace}/${key}`, { value, revision });
            return entry(namespace, key);
          }),
        deleteState: (namespace, key, expected) =>
          Promise.resolve().then(() => {
            const revision = checkRevision(namespace, key, expected) + 1;
            state.delete(`${namespace}/${key}`);
            return { revision };
          }),
        async *watchState(namespace, prefix, signal) {
          for (const each of state.keys()) {
            const key = each.slice(namespace.length + 1);
            if (key.startsWith(prefix)) yield { entry: entry(namespace, key) };
          }
          yield { complete: true };
          yield { deletedKey: "gone" };
          await aborted(signal);
        },
        listState: (namespace, prefix) =>
          Promise.resolve(
            [...state.keys()].map((each) => each.slice(namespace.length + 1))
              .filter((key) => key.startsWith(prefix)).map((key) => entry(namespace, key)),
          ),
      } satisfies TaskService,
    ),
    workers: {
      connect(hello, newSink) {
        if (hello.workerId === "taken") throw new TaskError("wrong_state", "Another has this id");
        fake.hellos.push(hello);
        sink = newSink;
        return Promise.resolve({
          ...fake.times,
          inlineBytes: 0,
          draining: false,
          lost: hello.held,
          heartbeat: () => Promise.resolve(),
          credit: (count: number) => void fake.events.push(["credit", count]),
          started: (ref: AttemptRef, at: number) => void fake.events.push(["started", ref, at]),
          finished: (result: AttemptResult) => void fake.events.push(["finished", result]),
          released: (refs: AttemptRef[]) => void fake.events.push(["released", refs]),
          blocked: () => {},
          closed: () => void fake.events.push(["closed", hello.workerId]),
        });
      },
      uploadLog: (ref) => Promise.resolve(receiveLog(fake, ref)),
      storeArtifacts: () => Promise.resolve([]),
      uploadArtifact: (ref, file) => Promise.resolve(receiveArtifact(fake, ref, file.path)),
    },
  };
  return fake;
}

function receiveLog(fake: FakeCoordinator, ref: AttemptRef): LogUpload {
  if (ref.fence === 666) throw new TaskError("conflict", "The lease was lost");
  const offsets = { stdout: 0, stderr: 0 };
  return {
    offsets,
    async append(stream, offset, data) {
      if (offset !== offsets[stream]) throw new TaskError("invalid", "There is a gap");
      await fake.beforeAppend();
      const name = `${ref.taskId} ${stream}`;
      fake.received.set(name, [...fake.received.get(name) ?? [], data]);
      offsets[stream] += data.length;
    },
    end(lengths) {
      const right = lengths.stdout === offsets.stdout && lengths.stderr === offsets.stderr;
      if (!right) throw new TaskError("invalid", "The lengths differ");
      return Promise.resolve();
    },
    [Symbol.asyncDispose]: () => Promise.resolve(void fake.events.push(["log closed"])),
  };
}

function receiveArtifact(fake: FakeCoordinator, ref: AttemptRef, path: string): ArtifactUpload {
  const pieces: Uint8Array[] = [];
  fake.received.set(`${ref.taskId} ${path}`, pieces);
  return {
    get offset() {
      return pieces.reduce((sum, { length }) => sum + length, 0);
    },
    append: (_offset, data) => Promise.resolve(void pieces.push(data)),
    end: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
