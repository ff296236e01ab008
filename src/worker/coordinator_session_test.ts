import assert from "node:assert/strict";
import { hello } from "../../tests/support/engine.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import type { Clock } from "../base/clock.ts";
import {
  TaskError,
  type WorkerService,
  type WorkerSession,
  type WorkerSink,
} from "../tasks/service.ts";
import type { AttemptResult } from "../tasks/task.ts";
import { CoordinatorSession } from "./coordinator_session.ts";
import { RunningAttempt } from "./running_attempt.ts";
import type { Spool } from "./spool.ts";

/** A clock that ends every sleep as soon as nothing else goes on. */
class HurriedClock implements Clock {
  #now = 0;
  #sleepers: { at: number; wake: () => void }[] = [];

  now = () => this.#now;
  monotonic = () => this.#now;
  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const woken = Promise.withResolvers<void>();
    const sleeper = { at: this.#now + ms, wake: woken.resolve };
    this.#sleepers.push(sleeper);
    const leave = () => {
      this.#sleepers = this.#sleepers.filter((each) => each !== sleeper);
      woken.reject(signal!.reason);
    };
    signal?.addEventListener("abort", leave, { once: true });
    setTimeout(() => this.#turn(), 0);
    await woken.promise;
    signal?.removeEventListener("abort", leave);
  }

  #turn(): void {
    const next = this.#sleepers.toSorted((a, b) => a.at - b.at)[0];
    if (next === undefined) return;
    this.#sleepers = this.#sleepers.filter((each) => each !== next);
    this.#now = Math.max(this.#now, next.at);
    next.wake();
  }
}

/** When a worker connected, with a coordinator whose sessions go as they are told to. */
async function connects(
  count: number,
  begin: (
    end: (error: TaskError) => void,
    clock: Clock,
    sink: WorkerSink,
  ) => WorkerSession["heartbeat"],
  { answers = (_now: number): boolean => true, renewed = (_forMs: number) => {} } = {},
): Promise<number[]> {
  const clock = new HurriedClock();
  const stop = new AbortController();
  const times: number[] = [];
  const connection = {
    heartbeatMs: 1_000,
    leaseMs: 15_000,
    inlineBytes: 0,
    draining: false,
    lost: [],
  };
  const nothing = () => {};
  const service = {
    connect: (_hello, sink) => {
      times.push(clock.monotonic());
      if (times.length === count) stop.abort();
      const heartbeat = begin((error) => sink.end(error), clock, sink);
      const told = { credit: nothing, started: nothing, finished: nothing, released: nothing };
      return Promise.resolve({ ...connection, ...told, heartbeat, closed: nothing });
    },
  } as Partial<WorkerService> as WorkerService;
  const session = new CoordinatorSession({
    address: "c:1",
    service,
    hello: hello(),
    events: {
      ...{ assigned: nothing, cancel: nothing, settled: nothing },
      renewed: (session) => {
        const [order] = session.renewals();
        if (order?.kind === "renew") renewed(order.forMs);
      },
      ...{ changed: nothing, cut: nothing, trouble: undefined },
      get runnerAnswers() {
        return answers(clock.monotonic());
      },
    },
    delivery: { clock, taken: nothing, readFile: async function* () {} },
    clock,
    log: silentLog,
    random: () => 0.5,
  });
  await session.serve(stop.signal);
  return times;
}

Deno.test("sessions that end as soon as they have begun are begun less and less often", async () => {
  const poison = new TaskError("invalid", "The command is missing");
  const times = await connects(12, (end) => async () => {
    // Once the worker has seen the answer, and before its clock goes on.
    queueMicrotask(async () => {
      for (let turn = 0; turn < 20; turn++) await null;
      end(poison);
    });
    await null;
  });
  assert.ok(times.at(-1)! - times.at(-2)! >= 1_500, String(times));
});

Deno.test("a coordinator that never answers a heartbeat is tried again", async () => {
  const [first, second] = await connects(2, () => () => new Promise(() => {}));
  assert.ok(second! - first! >= 6_000 && second! - first! < 10_000, `${first} ${second}`);
});

Deno.test("while the runner does not answer no lease is renewed, and no session begun", async () => {
  const beats: number[] = [];
  let now = 0;
  const answers = (at: number) => {
    now = at;
    return at < 5_000 || at >= 60_000;
  };
  const heartbeat = () => {
    beats.push(now);
    return Promise.resolve();
  };
  const [, second] = await connects(2, () => heartbeat, { answers });
  assert.ok(beats.length >= 4, String(beats));
  assert.ok(beats.every((at) => at < 5_000 || at >= 60_000), String(beats));
  assert.ok(second! >= 60_000, String(second));
});

Deno.test("a lease counts from the sending of a heartbeat, not from its late answer", async () => {
  const renewals: number[] = [];
  let beats = 0;
  const answeredLate = (end: (error: TaskError) => void, clock: Clock) => async () => {
    if (++beats > 8) end(new TaskError("unavailable", "That is enough"));
    await clock.sleep(2_500);
  };
  const renewed = (forMs: number) => void renewals.push(forMs);
  await connects(2, answeredLate, { renewed });
  assert.ok(renewals.length > 3, String(renewals));
  // Of the 15 s of the lease the worker uses 11.
  for (const forMs of renewals) assert.ok(forMs <= 11_000 - 2_500 && forMs > 5_000, `${forMs}`);
});

Deno.test("a promise to keep the leases counts from the last heartbeat that was acknowledged", async () => {
  const renewals: [at: number, forMs: number][] = [];
  let now = () => 0;
  let beats = 0;
  const stopping =
    (end: (error: TaskError) => void, clock: Clock, sink: WorkerSink) => async () => {
      now = clock.monotonic;
      if (++beats === 1) return;
      // No further heartbeat is answered: the coordinator stops.
      if (beats === 2) {
        await clock.sleep(2_500);
        sink.hold(600_000);
        end(new TaskError("unavailable", "The coordinator is stopping"));
      }
      await new Promise(() => {});
    };
  const renewed = (forMs: number) => void renewals.push([now(), forMs]);
  await connects(2, stopping, { renewed });
  const held = renewals.find(([, forMs]) => forMs > 15_000);
  // It was sent at 0; 4 s of the promise remain for the kill and for clocks of other speeds.
  assert.deepEqual(held, [3_500, 600_000 - 4_000 - 3_500]);
});

const result: AttemptResult = {
  ...{ ref: { taskId: "t1", attempt: 1, fence: 7 }, state: "succeeded", exitCode: 0 },
  ...{ signal: undefined, reason: undefined, startedAt: 0, finishedAt: 1 },
  ...{ stdoutBytes: 0, stderrBytes: 0 },
};

/** A session that has one attempt with that result from the start, until `over` aborts. */
async function withResult(
  more: Partial<AttemptResult>,
  over: AbortController,
  uploadArtifact: WorkerService["uploadArtifact"] = () => Promise.reject(new Error("not asked")),
) {
  const seen = { held: [] as unknown[], finished: [] as AttemptResult[], settled: [] as string[] };
  const clock = new HurriedClock();
  const nothing = () => {};
  const service = {
    connect: ({ held }) => {
      seen.held.push(...held);
      const timing = {
        heartbeatMs: 1_000,
        leaseMs: 15_000,
        inlineBytes: 0,
        draining: false,
        lost: [],
      };
      return Promise.resolve({
        ...timing,
        ...{ credit: nothing, started: nothing, released: nothing, closed: nothing },
        heartbeat: () => Promise.resolve(),
        finished: (result) => {
          seen.finished.push(result);
          over.abort();
        },
      });
    },
    uploadArtifact,
  } as Partial<WorkerService> as WorkerService;
  const session = new CoordinatorSession({
    address: "c:1",
    service,
    hello: hello(),
    events: {
      ...{ assigned: nothing, cancel: nothing, renewed: nothing, changed: nothing },
      settled: (session, attempt, how) => {
        seen.settled.push(how);
        session.attempts.delete(attempt.key);
      },
      ...{ cut: nothing, trouble: undefined, runnerAnswers: true },
    },
    delivery: { clock, taken: nothing, readFile: async function* () {} },
    clock,
    log: silentLog,
    random: () => 0.5,
  });
  const spool = { open: () => assert.fail("there is no output") } as unknown as Spool;
  const files = [{ path: "x", file: "/x", size: 1, mode: 0o644, sha256: "ab" }];
  const record = {
    ...{ key: "t1.1.7", lease: "c:1", result: { ...result, ...more } },
    ...{ starts: { stdout: 0, stderr: 0 }, files },
  };
  const attempt = RunningAttempt.restored(record, spool);
  session.attempts.set(attempt.key, attempt);
  await session.serve(over.signal);
  return seen;
}

Deno.test("a result whose files are refused again and again is sent without them", async () => {
  for (const code of ["conflict", "not_found"] as const) {
    let tries = 0;
    const seen = await withResult({}, new AbortController(), () => {
      tries++;
      return Promise.reject(new TaskError(code, "No such lease"));
    });
    assert.deepEqual(seen.finished.map(({ state, reason }) => [state, reason]), [
      ["succeeded", "Not all output and artifacts could be stored: No such lease"],
    ]);
    assert.ok(tries > 3 && tries < 10, String(tries));
  }
});

Deno.test("a result whose files cannot be stored now waits for them", async () => {
  const over = new AbortController();
  let tries = 0;
  const seen = await withResult({}, over, () => {
    if (++tries === 30) over.abort();
    return Promise.reject(new TaskError("exhausted", "The disk is full"));
  });
  assert.equal(tries, 30);
  assert.deepEqual(seen.finished, []);
});

Deno.test("a lost attempt is not named to its coordinator, which gives it to another", async () => {
  const over = new AbortController();
  setTimeout(() => over.abort(), 50);
  const seen = await withResult({ state: "lost" }, over);
  assert.deepEqual(seen, { held: [], finished: [], settled: ["lost"] });
});
