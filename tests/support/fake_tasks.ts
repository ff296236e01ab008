import { spec } from "./spec.ts";
import type { Output } from "../../src/base/env.ts";
import type { TaskService } from "../../src/tasks/service.ts";
import type { Attempt, Task, WorkerInfo } from "../../src/tasks/task.ts";

/** A task service with the given methods; all others throw. */
export function fakeTasks(answers: Partial<TaskService>): TaskService {
  return new Proxy(answers as TaskService, {
    get: (target, name: keyof TaskService | "then") => {
      if (name === "then") return undefined; // Asked by `await`: this is no promise.
      // No wire has to have these.
      if (name === "followTasks" || name === "getArtifacts") return target[name];
      return target[name] ?? (() => {
        throw new Error(`The test does not define ${name}`);
      });
    },
  });
}

export function aTask(facts: Partial<Task> = {}): Task {
  return {
    id: "t1",
    spec: spec(),
    state: "queued",
    submittedAt: 0,
    finishedAt: undefined,
    attempts: [],
    arrayId: undefined,
    arrayIndex: undefined,
    notBefore: undefined,
    cancelRequested: false,
    reason: undefined,
    ...facts,
  };
}

export function anAttempt(attempt: number, facts: Partial<Attempt> = {}): Attempt {
  return {
    attempt,
    fence: attempt,
    workerId: "w1",
    state: "succeeded",
    assignedAt: 0,
    startedAt: 0,
    finishedAt: 0,
    exitCode: 0,
    signal: undefined,
    reason: undefined,
    stdoutBytes: 3,
    stderrBytes: 0,
    superseded: false,
    ...facts,
  };
}

export function aWorker(id: string, facts: Partial<WorkerInfo> = {}): WorkerInfo {
  return {
    id,
    version: "0.1.0",
    labels: {},
    slots: 2,
    running: 0,
    assigned: 0,
    health: "healthy",
    draining: false,
    connected: true,
    connectedAt: 0,
    lastHeartbeatAt: 0,
    address: "127.0.0.1",
    identity: undefined,
    warnings: [],
    ...facts,
  };
}

export interface Memory extends Output {
  text(): string;
  bytes(): Uint8Array;
}

/** An output that keeps everything written to it. */
export function memory(): Memory {
  const chunks: Uint8Array[] = [];
  const bytes = () => new Uint8Array(chunks.flatMap((chunk) => [...chunk]));
  return {
    isTerminal: false,
    isPipe: false,
    color: false,
    write(data) {
      chunks.push(typeof data === "string" ? new TextEncoder().encode(data) : data.slice());
      return Promise.resolve();
    },
    bytes,
    text: () => new TextDecoder().decode(bytes()),
  };
}
