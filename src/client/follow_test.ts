import assert from "node:assert/strict";
import { type Clock, systemClock } from "../base/clock.ts";
import { UserError } from "../base/errors.ts";
import type { Env } from "../base/env.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import { type LogPiece, TaskError, type TaskService } from "../tasks/service.ts";
import type { Task } from "../tasks/task.ts";
import {
  anAttempt,
  aTask,
  fakeTasks,
  type Memory,
  memory,
} from "../../tests/support/fake_tasks.ts";
import { followAll, type Follower, followInOrder, followTask } from "./follow.ts";
import { followOutput } from "../cli/output/follow_output.ts";
import { lineWriter, plainWriter } from "../cli/output/log_writers.ts";

/** Time passes only by sleeping. */
function turnedClock(): Clock {
  let now = 0;
  return {
    now: () => now,
    monotonic: () => now,
    sleep(ms, signal) {
      if (signal?.aborted) return Promise.reject(signal.reason);
      now += ms;
      return Promise.resolve();
    },
  };
}

const unavailable = new TaskError("unavailable", "connection lost");
const encode = (text: string) => new TextEncoder().encode(text);

/** A coordinator whose attempts wrote these texts to stdout, and which fails as often as told. */
function coordinator(
  task: Task,
  wrote: string[],
  failing: { every: number } = { every: Infinity },
) {
  let calls = 0;
  return fakeTasks({
    async *watchTasks() {
      if (++calls % failing.every === 0) throw unavailable;
      yield task;
      await Promise.resolve();
    },
    async *readLog({ attempt, stdoutOffset = 0 }) {
      const data = encode(wrote[attempt! - 1]!);
      for (let offset = stdoutOffset; offset < data.length; offset++) {
        if (++calls % failing.every === 0) throw unavailable;
        await Promise.resolve();
        yield { attempt: attempt!, stream: "stdout", offset, data: data.slice(offset, offset + 1) };
      }
    },
  });
}

function follower(tasks: TaskService, more: Partial<Follower> = {}) {
  const stdout = memory();
  const silences: TaskError[] = [];
  const all: Follower = {
    tasks,
    clock: turnedClock(),
    signal: new AbortController().signal,
    silent: (error) => silences.push(error),
    random: () => 0.5,
    ...plainWriter({ stdout, stderr: memory() }),
    ...more,
  };
  return { all, stdout, silences };
}

const twice = aTask({ state: "failed", attempts: [anAttempt(1), anAttempt(2)] });

Deno.test("follow shows all attempts from the first, and returns the finished task", async () => {
  const { all, stdout } = follower(coordinator(twice, ["one ", "two"]));
  assert.equal((await followTask("t1", 1, all))?.state, "failed");
  assert.equal(stdout.text(), "one two");
});

Deno.test("follow shows each byte once while the coordinator keeps going away", async () => {
  const { all, stdout, silences } = follower(
    coordinator(twice, ["first attempt ", "second attempt"], { every: 3 }),
  );
  await followTask("t1", 1, all);
  assert.equal(stdout.text(), "first attempt second attempt");
  assert.ok(silences.length > 0);
});

Deno.test("follow leaves out what it is sent twice, and does not hide a gap", async () => {
  const pieces = (...all: [number, string][]) =>
    fakeTasks({
      ...coordinator(aTask({ state: "succeeded", attempts: [anAttempt(1)] }), []),
      async *readLog() {
        for (const [offset, text] of all) {
          yield await Promise.resolve<LogPiece>(
            { attempt: 1, stream: "stdout", offset, data: encode(text) },
          );
        }
      },
    });
  const overlapping = follower(pieces([0, "abc"], [1, "bcd"], [0, "a"], [4, "e"]));
  await followTask("t1", 1, overlapping.all);
  assert.equal(overlapping.stdout.text(), "abcde");
  await assert.rejects(
    followTask("t1", 1, follower(pieces([0, "abc"], [5, "f"])).all),
    /skipped stdout from byte 3 to 5/,
  );
});

Deno.test("follow gives up on a coordinator that stays away", async () => {
  const away = fakeTasks({
    // deno-lint-ignore require-yield -- it is never there.
    async *watchTasks() {
      await Promise.resolve();
      throw unavailable;
    },
  });
  const { all, silences } = follower(away);
  await assert.rejects(followTask("t1", 1, all), { code: "unavailable" });
  assert.equal(silences.length, 1, "one silence is told once");
  assert.ok(all.clock.monotonic() >= 10 * 60_000);
});

Deno.test("follow ends with the signal, and other errors are not waited out", async () => {
  const stop = new AbortController();
  const { all } = follower(coordinator(twice, ["x", "y"]), {
    signal: stop.signal,
    piece: () => Promise.resolve(stop.abort()),
  });
  assert.equal(await followTask("t1", 1, all), undefined);
  const gone = fakeTasks({
    watchTasks: () => {
      throw new TaskError("not_found", "no such task");
    },
  });
  await assert.rejects(followTask("t1", 1, follower(gone).all), { code: "not_found" });
});

Deno.test("a task that is cancelled in the queue has nothing to follow", async () => {
  const cancelled = aTask({ state: "cancelled" });
  const { all } = follower(coordinator(cancelled, []));
  assert.equal((await followTask("t1", 1, all))?.state, "cancelled");
});

Deno.test("the lines of an array's elements are not torn by each other", async () => {
  const ids = Array.from({ length: 60 }, (_, i) => `t${i}`);
  const finished = (id: string) => aTask({ id, state: "succeeded", attempts: [anAttempt(1)] });
  const tasks = fakeTasks({
    async *watchTasks(asked) {
      for (const id of asked) yield await Promise.resolve(finished(id));
    },
    async *readLog({ taskId, attempt }) {
      const data = encode(`begin ${taskId}\nend ${taskId}`);
      for (let offset = 0; offset < data.length; offset++) {
        await Promise.resolve();
        yield { attempt: attempt!, stream: "stdout", offset, data: data.slice(offset, offset + 1) };
      }
    },
  });
  const stdout = memory();
  const { all } = follower(tasks, lineWriter({ stdout, stderr: memory() }));
  const ended = await followAll(ids, all);
  assert.deepEqual(ended?.map(({ id }) => id), ids);
  for (const id of ids) {
    assert.ok(stdout.text().includes(`begin ${id}\n`));
    assert.ok(stdout.text().includes(`end ${id}`));
  }
});

Deno.test("an array is followed in one stream, which continues where it broke", async () => {
  const ids = ["a.0", "a.1", "a.2"];
  const done = (id: string) => aTask({ id, state: "succeeded", attempts: [anAttempt(1)] });
  const piece = (taskId: string, attempt: number, offset: number, text: string) => ({
    taskId,
    piece: { attempt, stream: "stdout" as const, offset, data: encode(text) },
  });
  const asked: unknown[] = [];
  const tasks = fakeTasks({
    async *followTasks(wanted, positions) {
      await Promise.resolve();
      asked.push([wanted, positions]);
      if (asked.length === 1) {
        yield [{ finished: done("a.1") }, piece("a.0", 1, 0, "one ")];
        yield [{ taskId: "a.0", begun: 2 }, piece("a.0", 2, 0, "two ")];
        throw unavailable;
      }
      yield [
        { taskId: "a.0", begun: 2 },
        piece("a.0", 2, 2, "o three"),
        piece("a.2", 1, 0, "four"),
      ];
      yield [{ finished: done("a.0") }, { finished: done("a.2") }];
    },
  });
  const retried: string[] = [];
  const { all, stdout, silences } = follower(tasks, {
    retried: (id, attempt) => Promise.resolve(void retried.push(`${id} ${attempt}`)),
  });
  const ended = await followAll(ids, all);
  assert.deepEqual(ended?.map(({ id }) => id), ids);
  assert.equal(stdout.text(), "one two threefour");
  assert.deepEqual(retried, ["a.0 2"]);
  assert.equal(silences.length, 1);
  const position = { taskId: "a.0", attempt: 2, stdoutOffset: 4, stderrOffset: 0 };
  assert.deepEqual(asked, [[["a"], []], [["a.0", "a.2"], [position]]]);
});

Deno.test("a coordinator that does not know the one stream is followed by one for each element", async () => {
  const tasks = fakeTasks({
    ...coordinator(aTask({ id: "a.0", state: "succeeded", attempts: [anAttempt(1)] }), ["one"]),
    // deno-lint-ignore require-yield
    async *followTasks() {
      await Promise.resolve();
      throw new TaskError("unsupported", "The coordinator does not know this call");
    },
  });
  const { all, stdout } = follower(tasks);
  assert.equal((await followAll(["a.0"], all))?.length, 1);
  assert.equal(stdout.text(), "one");
});

Deno.test("follow asks for no log of an attempt that wrote nothing", async () => {
  const silent = aTask({ state: "succeeded", attempts: [anAttempt(1, { stdoutBytes: 0 })] });
  let reads = 0;
  const tasks = fakeTasks({
    async *watchTasks() {
      yield await Promise.resolve(silent);
    },
    // deno-lint-ignore require-yield
    async *readLog() {
      reads++;
    },
  });
  assert.equal((await followTask("t1", 1, follower(tasks).all))?.state, "succeeded");
  assert.equal((await followAll(["t1"], follower(tasks).all))?.length, 1);
  assert.equal(reads, 0);
  const lost = aTask({
    state: "lost",
    attempts: [anAttempt(1, { state: "lost", stdoutBytes: 0 })],
  });
  await followTask("t1", 1, follower(tasks).all, lost);
  assert.equal(reads, 1);
});

Deno.test("a follower is told once what its task waits for, in a pipe too", async () => {
  for (const isTerminal of [true, false]) {
    const stop = new AbortController();
    const stderr = { ...memory(), isTerminal };
    const waits = aTask({ reason: "No worker is connected" });
    const tasks = fakeTasks({
      getTask: () => Promise.resolve([waits]),
      async *watchTasks() {
        yield waits;
        while (!stderr.text().includes("waits")) await new Promise((done) => setTimeout(done));
        stop.abort();
      },
    });
    const env = { clock: turnedClock(), log: silentLog, signal: stop.signal, stdout: memory() };
    const request = {
      ...{ tasks, env: { ...env, stderr } as Partial<Env> as Env, json: false, id: "t1" },
      attempt: 1,
    };
    assert.equal((await followOutput({ ...request, ids: ["t1"] })).exit, 130);
    assert.match(
      stderr.text(),
      /^agent: t1 waits: No worker is connected\n\nDetached; the task continues\./,
    );
  }
});

/** What `submit --follow` says on stderr of a task that ended so, and how it exits. */
async function followed(task: Task, more: { json?: boolean; stdout?: Memory } = {}) {
  const stderr = memory();
  const signal = new AbortController().signal;
  const stdout = more.stdout ?? memory();
  const env = { clock: systemClock, log: silentLog, signal, stdout, stderr };
  const { exit } = await followOutput({
    tasks: coordinator(task, ["one", "two"]),
    env: env as Partial<Env> as Env,
    json: more.json ?? false,
    id: "t1",
    ids: ["t1"],
    attempt: 1,
  });
  return [exit, stderr.text()];
}

Deno.test("a reader that leaves early is no success, whatever the task does", async () => {
  const closed = new UserError("Standard output was closed", { code: "output_closed" });
  const stdout = { ...memory(), write: () => Promise.reject(closed) };
  const [exit, said] = await followed(aTask({ state: "succeeded", attempts: [anAttempt(1)] }), {
    stdout,
  });
  assert.equal(exit, 141);
  assert.match(
    String(said),
    /Detached; the task continues\. To resume:\n {2}agent task logs t1 --follow/,
  );
});

Deno.test("what output and exit code do not tell is said in a line", async () => {
  const timedOut = { state: "timed_out", reason: "Took longer than its timeout of 1s" } as const;
  const attempts = [anAttempt(1)];
  const spec = { ...aTask().spec, artifacts: ["out/*"] };
  const note = "No file matches the artifact glob";
  for (
    const [task, expected] of [
      [{ ...timedOut, attempts }, [124, "agent: Took longer than its timeout of 1s\n"]],
      [{ state: "succeeded", attempts, spec, reason: note }, [0, `agent: ${note}\n`]],
      [{ state: "succeeded", attempts: [anAttempt(1, { exitCode: 1 }), anAttempt(2)] }, [
        0,
        "agent: attempt 2 of t1 begins\n",
      ]],
      [
        {
          state: "failed",
          attempts: [anAttempt(1, { exitCode: 3 })],
          reason: "Exited with code 3",
        },
        [
          3,
          "",
        ],
      ],
    ] as [Partial<Task>, [number, string]][]
  ) assert.deepEqual(await followed(aTask(task)), expected);
  const [exit, json] = await followed(aTask({ ...timedOut, attempts }), { json: true });
  assert.equal(exit, 124);
  assert.equal(JSON.parse(String(json)).error.code, "timed_out");
});

Deno.test("an attempt that its worker gives back before it starts does not end the following", async () => {
  let reads = 0;
  const tasks = coordinator(aTask({ state: "succeeded", attempts: [anAttempt(1)] }), ["one"]);
  const { readLog } = tasks;
  tasks.readLog = (query, signal) => {
    if (reads++ === 0) throw new TaskError("not_found", "Task t1 has no attempt 1");
    return readLog(query, signal);
  };
  const { all, stdout } = follower(tasks);
  assert.equal((await followTask("t1", 1, all))?.state, "succeeded");
  assert.equal(stdout.text(), "one");
});

Deno.test("in order, an element that ends early waits for those before it, and is not asked about again", async () => {
  const ids = ["a.0", "a.1", "a.2"];
  const done = (id: string) =>
    aTask({ id, state: "succeeded", attempts: [anAttempt(1, { stdoutBytes: 4 })] });
  const asked: string[] = [];
  const tasks = fakeTasks({
    getTask(id) {
      asked.push(`get ${id}`);
      return Promise.resolve([aTask({ id: "a.0", state: "queued" }), done("a.1"), done("a.2")]);
    },
    async *watchTasks([id]) {
      asked.push(`watch ${id}`);
      await Promise.resolve();
      yield done(id!);
    },
    async *readLog({ taskId, stdoutOffset = 0 }) {
      await Promise.resolve();
      const data = encode(`${taskId}\n`).subarray(stdoutOffset);
      yield { attempt: 1, stream: "stdout", offset: stdoutOffset, data };
    },
  });
  const { all, stdout } = follower(tasks);
  const ended = await followInOrder(ids, all);
  assert.deepEqual(ended?.map(({ id }) => id), ids);
  assert.equal(stdout.text(), "a.0\na.1\na.2\n");
  assert.deepEqual(asked, ["get a", "watch a.0"]);
});
