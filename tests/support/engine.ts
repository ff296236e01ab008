import assert from "node:assert/strict";
import { join } from "node:path";
import type { Clock } from "../../src/base/clock.ts";
import { wholeAnswers } from "./answers.ts";
import { silentLog } from "./silent_log.ts";
import { openCoordinatorStorage } from "../../src/store/coordinator.ts";
import { type Engine, type EngineOptions, openEngine } from "../../src/coordinator/engine.ts";
import {
  type LogUpload,
  TaskError,
  type TaskErrorCode,
  type TaskService,
  type WorkerHello,
  type WorkerService,
  type WorkerSession,
  type WorkerSink,
} from "../../src/tasks/service.ts";
import type { TaskStore } from "../../src/coordinator/store.ts";
import type { Assignment, AttemptRef, AttemptResult } from "../../src/tasks/task.ts";

/** A clock that the test sets. */
export class HandClock implements Clock {
  #now = Date.UTC(2030, 0, 1);
  #start = this.#now;

  now = () => this.#now;
  monotonic = () => this.#now - this.#start;
  sleep = () => Promise.reject(new Error("This clock does not support sleep"));
  turn(ms: number): void {
    this.#now += ms;
  }
  /** Changes the time of day, as an administrator does; the monotonic clock stays. */
  set(ms: number): void {
    this.#now += ms;
    this.#start += ms;
  }
}

/** The engine with whole answers, and uploads from where `hello` comes from. */
export type TestEngine =
  & Omit<Engine, keyof TaskService | "uploadLog" | "uploadArtifact" | "storeArtifacts">
  & TaskService
  & Required<Pick<WorkerService, "uploadArtifact" | "storeArtifacts">>
  & { uploadLog(ref: AttemptRef): Promise<LogUpload>; served: Engine };

export function openTestEngine(options: EngineOptions): TestEngine {
  const engine = openEngine(options);
  return {
    ...engine,
    ...wholeAnswers(engine),
    uploadLog: (ref) => engine.uploadLog(ref, callerAddress),
    uploadArtifact: (ref, file) => engine.uploadArtifact(ref, file, callerAddress),
    storeArtifacts: (ref, files) => engine.storeArtifacts(ref, files, callerAddress),
    served: engine,
  } as TestEngine;
}

/** An engine with a real store in a temporary folder, which can be closed and opened again. */
export class EngineHarness implements AsyncDisposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "agent-engine-" });
  readonly clock = new HandClock();
  engine: TestEngine;
  #store!: TaskStore;

  constructor() {
    this.engine = this.open();
  }

  open(
    options: Partial<EngineOptions> = {},
    wrapped: (store: TaskStore) => TaskStore = (store) => store,
  ): TestEngine {
    const data = openCoordinatorStorage(join(this.folder, "data"));
    this.#store = data.store;
    return this.engine = openTestEngine({
      ...data,
      store: wrapped(data.store),
      clock: this.clock,
      log: silentLog,
      commitEveryMs: 0,
      ...options,
    });
  }

  /** Closes the engine in order and opens it again. */
  async restart(...how: Parameters<EngineHarness["open"]>): Promise<void> {
    await this.engine[Symbol.asyncDispose]();
    this.open(...how);
  }

  /** Abandons the engine: uncommitted changes are never written. */
  async crash(...how: Parameters<EngineHarness["open"]>): Promise<void> {
    this.#store[Symbol.dispose]();
    await this.restart(...how);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine[Symbol.asyncDispose]();
    await Deno.remove(this.folder, { recursive: true });
  }
}

const callerAddress = "127.0.0.1:1";

export function hello(more: Partial<WorkerHello> = {}): WorkerHello {
  return {
    workerId: "w1",
    instance: "instance-1",
    home: "home-of-w1",
    version: "0.0.0",
    labels: {},
    slots: 4,
    held: [],
    warnings: [],
    address: callerAddress,
    identity: undefined,
    ...more,
  };
}

/** The worker's end of a session, without a wire: records every call. */
export class FakeWorker implements WorkerSink {
  readonly assigned: Assignment[] = [];
  readonly cancelled: AttemptRef[] = [];
  readonly acks: { ref: AttemptRef; superseded: boolean }[] = [];
  readonly holds: number[] = [];
  readonly drains: boolean[] = [];
  ended: TaskError | undefined;
  session!: WorkerSession;
  #changed: (() => void)[] = [];

  static async connect(
    engine: Pick<Engine, "connect">,
    more: Partial<WorkerHello> = {},
  ): Promise<FakeWorker> {
    const worker = new FakeWorker();
    worker.session = await engine.connect(hello(more), worker);
    return worker;
  }

  assign(assignments: Assignment[]): void {
    this.assigned.push(...assignments);
    this.#tell();
  }
  cancel(ref: AttemptRef): void {
    this.cancelled.push(ref);
    this.#tell();
  }
  finishedAck(ref: AttemptRef, superseded: boolean): void {
    this.acks.push({ ref, superseded });
    this.#tell();
  }
  drain(draining: boolean): void {
    this.drains.push(draining);
    this.#tell();
  }
  hold(ms: number): void {
    this.holds.push(ms);
    this.#tell();
  }
  end(error: TaskError): void {
    this.ended = error;
    this.#tell();
  }

  #tell(): void {
    for (const resolve of this.#changed.splice(0)) resolve();
  }

  /** Settles when the condition holds; checked at each call, without polling. */
  async until(condition: (worker: this) => boolean): Promise<void> {
    const late = AbortSignal.timeout(5_000);
    while (!condition(this)) {
      await new Promise<void>((resolve, reject) => {
        late.addEventListener(
          "abort",
          () => reject(new Error(`The condition never held: ${condition}`)),
        );
        this.#changed.push(resolve);
      });
    }
  }

  /** Grants credits and waits for as many assignments. */
  async take(count = 1): Promise<Assignment[]> {
    const before = this.assigned.length;
    this.session.credit(count);
    await this.until(() => this.assigned.length >= before + count);
    return this.assigned.slice(before);
  }

  /** Reports a result and waits for the acknowledgement. */
  async finish(ref: AttemptRef, more: Partial<AttemptResult> = {}): Promise<boolean> {
    const before = this.acks.length;
    this.session.finished(result(ref, more));
    await this.until(() => this.acks.length > before);
    return this.acks[before]!.superseded;
  }
}

export function result(ref: AttemptRef, more: Partial<AttemptResult> = {}): AttemptResult {
  return {
    ref,
    state: "succeeded",
    exitCode: 0,
    signal: undefined,
    reason: undefined,
    startedAt: undefined,
    finishedAt: Date.UTC(2030, 0, 1),
    stdoutBytes: 0,
    stderrBytes: 0,
    ...more,
  };
}

/** For `assert.rejects`: compares the code; the text only if given. */
export function taskError(code: TaskErrorCode, text?: RegExp): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof TaskError, String(error));
    assert.equal(error.code, code, error.message);
    if (text !== undefined) assert.match(error.message, text);
    return true;
  };
}

/** Waits until this turn of the event loop and the next one are over. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}
