import { specFrom } from "../../src/peer/from_wire.ts";
import { wireTask } from "../../src/peer/to_wire.ts";
import { oneOfSeveral } from "../../src/client/one_of_several.ts";
import type { Task } from "../../src/tasks/task.ts";
import assert from "node:assert/strict";
import { EngineHarness, FakeWorker, taskError, turn } from "../support/engine.ts";
import { eventually } from "../support/eventually.ts";
import { spec } from "../support/spec.ts";

Deno.test("a task goes from its submission to its success", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id, taskIds, existing } = await engine.submit(spec({ argv: ["echo", "hi"] }));
  assert.deepEqual([taskIds, existing], [[id], false]);
  const [queued] = await engine.getTask(id);
  assert.equal(queued!.state, "queued");
  assert.equal(queued!.reason, "No worker is connected");

  const worker = await FakeWorker.connect(engine);
  const [assignment] = await worker.take();
  assert.deepEqual(assignment!.spec.argv, ["echo", "hi"]);
  assert.equal(assignment!.ref.taskId, id);
  worker.session.started(assignment!.ref, harness.clock.now());
  assert.equal(await worker.finish(assignment!.ref, { stdoutBytes: 3 }), false);

  const [task] = await engine.getTask(id);
  assert.equal(task!.state, "succeeded");
  assert.equal(task!.attempts.length, 1);
  assert.equal(task!.attempts[0]!.workerId, "w1");
  assert.equal(task!.attempts[0]!.stdoutBytes, 3);
  assert.deepEqual(task!.spec, spec({ argv: ["echo", "hi"] }));
  assert.equal(engine.stats().tasks.succeeded, 1);
});

Deno.test("a failed task is retried as often as it may be", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const worker = await FakeWorker.connect(engine);
  const { id } = await engine.submit(spec({ retries: 1, retryDelayMs: 1_000 }));
  const [first] = await worker.take();
  await worker.finish(first!.ref, { state: "failed", exitCode: 7 });
  const [waiting] = await engine.getTask(id);
  assert.equal(waiting!.state, "queued");
  assert.match(waiting!.reason!, /Waits for its retry/);
  worker.session.credit(1);
  engine.advance();
  clock.turn(1_000);
  engine.advance();
  await worker.until(() => worker.assigned.length === 2);
  const second = worker.assigned[1]!;
  assert.equal(second.ref.attempt, 2);
  assert.ok(second.ref.fence > first!.ref.fence);
  await worker.finish(second.ref, { state: "failed", exitCode: 8, reason: "exit code 8" });
  const [task] = await engine.getTask(id);
  assert.equal(task!.state, "failed");
  assert.deepEqual(task!.attempts.map((attempt) => attempt.exitCode), [7, 8]);
  assert.equal(task!.reason, "exit code 8");
});

Deno.test("a retry waits for its delay, also when the time of day is changed", async () => {
  for (const setMs of [-3_600_000, 3_600_000]) {
    await using harness = new EngineHarness();
    const { engine, clock } = harness;
    const worker = await FakeWorker.connect(engine);
    await engine.submit(spec({ retries: 1, retryDelayMs: 1_000 }));
    const [first] = await worker.take();
    await worker.finish(first!.ref, { state: "failed", exitCode: 7 });
    worker.session.credit(1);
    clock.set(setMs);
    for (const [ms, attempts] of [[900, 1], [100, 2]] as const) {
      clock.turn(ms);
      engine.advance();
      await turn();
      assert.equal(worker.assigned.length, attempts);
    }
  }
});

Deno.test("an array is one submission, and its elements are found by its id", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id, taskIds } = await engine.submit(spec(), { array: { first: 8, last: 11 } });
  assert.deepEqual(taskIds, [8, 9, 10, 11].map((index) => `${id}.${index}`));
  const tasks = await engine.getTask(id);
  assert.deepEqual(tasks.map((task) => [task.id, task.arrayId, task.arrayIndex]), [
    [`${id}.8`, id, 8],
    [`${id}.9`, id, 9],
    [`${id}.10`, id, 10],
    [`${id}.11`, id, 11],
  ]);
  assert.equal((await engine.getTask(`${id}.9`)).length, 1);
  const worker = await FakeWorker.connect(engine);
  const given = await worker.take(4);
  assert.deepEqual(given.map((each) => each.arrayIndex), [8, 9, 10, 11]);
  assert.equal(given[0]!.arrayId, id);
  assert.equal((await engine.cancelTask(id)).length, 4);
  await worker.until(() => worker.cancelled.length === 4);
});

Deno.test("an invalid task is refused", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const never = AbortSignal.abort();
  for (const id of ["nope", "", "../x", "0123456789abcd", "0123456789abcd.1", "a\0b"]) {
    await assert.rejects(engine.getTask(id), taskError("not_found"));
    await assert.rejects(engine.cancelTask(id), taskError("not_found"));
    await assert.rejects(engine.retryTask(id), taskError("not_found"));
    await assert.rejects(engine.listArtifacts(id), taskError("not_found"));
    await assert.rejects(
      Array.fromAsync(engine.readLog({ taskId: id }, never)),
      taskError("not_found"),
    );
    await assert.rejects(Array.fromAsync(engine.watchTasks([id], never)), taskError("not_found"));
  }
  const bad: [Parameters<typeof spec>[0], RegExp][] = [
    [{ argv: [] }, /command is missing/],
    [{ argv: [""] }, /command is missing/],
    [{ argv: ["a\0b"] }, /zero character/],
    [{ argv: ["\ud800"] }, /Unicode/],
    [{ argv: ["a\0"] }, /zero/],
    [{ argv: ["x".repeat(2 * 1024 * 1024)] }, /longer than/],
    [{ argv: Array(20_000).fill("x") }, /more than/],
    [{ argv: Array(9_000).fill("x".repeat(200)) }, /longer than/],
    [{ env: { "A=B": "x" } }, /not a name/],
    [{ env: { "BASH_FUNC_ls%%": "() { :; }" } }, /not a name/],
    [{ env: { "1A": "x" } }, /not a name/],
    [{ env: { A: "\0" } }, /zero/],
    [{ env: { A: "x".repeat(300_000) } }, /longer/],
    [{ selector: { "": "x" } }, /label name/],
    [{ selector: { a: "x y" } }, /label value/],
    [{ timeoutMs: 0 }, /timeout/],
    [{ timeoutMs: 1.5 }, /timeout/],
    [{ retries: -1 }, /retries/],
    [{ retries: 1e9 }, /retries/],
    [{ retryDelayMs: NaN }, /delay/],
    [{ artifacts: ["../x"] }, /artifact pattern/],
    [{ artifacts: ["/etc/passwd"] }, /artifact pattern/],
    [{ cwd: "" }, /working folder/],
    [{ cwd: "../elsewhere" }, /working folder/],
    [{ cwd: "/a\nb" }, /working folder/],
  ];
  for (const [more, text] of bad) {
    await assert.rejects(engine.submit(spec(more)), taskError("invalid", text));
  }
  const arrays = [[3, 2], [-1, 2], [0, 10_000], [0.5, 1]] as const;
  for (const [first, last] of arrays) {
    await assert.rejects(
      engine.submit(spec(), { array: { first, last } }),
      taskError("invalid", /array/),
    );
  }
  assert.equal((await engine.listTasks({})).tasks.length, 0);
});

Deno.test("an idempotency key starts a task once, also in calls at once and after a restart", async () => {
  await using harness = new EngineHarness();
  // Enough calls that some arrive before the first one is written.
  const all = await Promise.all(
    Array.from({ length: 50 }, () => harness.engine.submit(spec(), { idempotencyKey: "k" })),
  );
  assert.equal(new Set(all.map((each) => each.id)).size, 1);
  assert.equal(all.filter((each) => !each.existing).length, 1);
  await harness.restart();
  const again = await harness.engine.submit(spec(), { idempotencyKey: "k" });
  assert.deepEqual([again.id, again.existing], [all[0]!.id, true]);
  await assert.rejects(
    harness.engine.submit(spec({ argv: ["false"] }), { idempotencyKey: "k" }),
    taskError("already_exists"),
  );
  assert.equal((await harness.engine.listTasks({})).tasks.length, 1);
});

Deno.test("cancelling ends a queued task at once and asks the worker of a running one", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const queued = await engine.submit(spec({ selector: { gpu: "yes" } }));
  assert.match((await engine.getTask(queued.id))[0]!.reason!, /No worker/);
  assert.equal((await engine.cancelTask(queued.id))[0]!.state, "cancelled");
  await assert.rejects(engine.cancelTask(queued.id), taskError("wrong_state", /already ended/));

  const running = await engine.submit(spec({ retries: 3 }));
  const worker = await FakeWorker.connect(engine);
  const [assignment] = await worker.take();
  const [asked] = await engine.cancelTask(running.id);
  assert.deepEqual([asked!.state, asked!.cancelRequested], ["running", true]);
  await worker.until(() => worker.cancelled.length === 1);
  await engine.cancelTask(running.id);
  await worker.finish(assignment!.ref, { state: "cancelled", exitCode: undefined });
  assert.equal((await engine.getTask(running.id))[0]!.state, "cancelled");
});

Deno.test("a finished task can be run again, as a further attempt", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id } = await engine.submit(spec());
  await assert.rejects(engine.retryTask(id), taskError("wrong_state", /not ended/));
  const worker = await FakeWorker.connect(engine);
  const [first] = await worker.take();
  await worker.finish(first!.ref, { state: "failed" });
  assert.equal((await engine.retryTask(id))[0]!.state, "queued");
  const [second] = await worker.take();
  assert.equal(second!.ref.attempt, 2);
  await worker.finish(second!.ref);
  const [task] = await engine.getTask(id);
  assert.deepEqual([task!.state, task!.attempts.length], ["succeeded", 2]);
  const counts = engine.stats().tasks;
  assert.deepEqual([counts.queued, counts.running, counts.failed, counts.succeeded], [0, 0, 0, 1]);
});

Deno.test("tasks older than another coordinator's task are found by the time in its id", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const ids: string[] = [];
  for (const array of [undefined, { first: 0, last: 11 }, undefined]) {
    const { taskIds } = await engine.submit(spec(), array === undefined ? {} : { array });
    ids.unshift(...taskIds.toReversed());
    clock.turn(1_000);
  }
  await using elsewhere = new EngineHarness();
  elsewhere.clock.turn(1_500);
  const { id: before } = await elsewhere.engine.submit(spec());
  const { tasks } = await engine.listTasks({ before });
  assert.deepEqual(tasks.map((task) => task.id), ids.slice(1));
  assert.equal((await engine.listTasks({ before: `0${before.slice(1)}` })).tasks.length, 0);
});

Deno.test("in the pages of several coordinators each task is there once, the newest first", async () => {
  await using one = new EngineHarness();
  await using other = new EngineHarness();
  const ids: string[] = [];
  const submit = async ({ engine }: EngineHarness, last?: number) => {
    for (const { clock } of [one, other]) clock.turn(10);
    const array = last === undefined ? {} : { array: { first: 0, last } };
    ids.push(...(await engine.submit(spec(), array)).taskIds);
  };
  await submit(other);
  // By its text, element 9 is newer than element 10.
  await submit(one, 120);
  // A clock that is put back makes no task older than the ones before.
  one.clock.set(-60_000);
  await submit(one, 12);
  one.clock.set(60_000);
  await submit(other, 11);
  for (const harness of [one, other, other]) await submit(harness);

  const dialled = [one, other].map(({ engine }, at) => ({ address: `c${at}:1`, tasks: engine }));
  const tasks = oneOfSeveral(dialled, { unanswered: () => {}, again: (ask) => ask() });
  for (const limit of [1, 2, 7, 100]) {
    const found: string[] = [];
    for (let more = true; more;) {
      const before = found.at(-1);
      const page = await tasks.listTasks({ limit, ...before === undefined ? {} : { before } });
      found.push(...page.tasks.map(({ id }) => id));
      more = page.more;
    }
    assert.deepEqual(found, ids.toReversed(), `${limit} a page`);
  }
});

Deno.test("a page that is cut short for the size of its tasks leaves none out", async () => {
  await using one = new EngineHarness();
  await using other = new EngineHarness();
  const ids: string[] = [];
  for (let round = 0; round < 20; round++) {
    for (const { engine } of [one, other]) {
      for (const { clock } of [one, other]) clock.turn(10);
      const argv = engine === one.engine ? ["x", ...Array(4).fill("x".repeat(250_000))] : ["x"];
      ids.push((await engine.submit(spec({ argv }))).id);
    }
  }
  const dialled = [one, other].map(({ engine }, at) => ({ address: `c${at}:1`, tasks: engine }));
  const tasks = oneOfSeveral(dialled, { unanswered: () => {}, again: (ask) => ask() });
  const first = await tasks.listTasks({ limit: 40 });
  assert.ok(first.more && first.tasks.length < 40, `${first.tasks.length} tasks`);
  const rest = await tasks.listTasks({ limit: 40, before: first.tasks.at(-1)!.id });
  assert.deepEqual([...first.tasks, ...rest.tasks].map(({ id }) => id), ids.toReversed());
});

Deno.test("tasks are listed newest first, by state, in pages", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const ids: string[] = [];
  for (let i = 0; i < 7; i++) ids.push((await engine.submit(spec())).id);
  const worker = await FakeWorker.connect(engine);
  const given = await worker.take(3);
  await worker.finish(given[0]!.ref);
  await worker.finish(given[1]!.ref, { state: "failed" });
  const all = await engine.listTasks({});
  assert.deepEqual([all.tasks.map((task) => task.id), all.more], [ids.toReversed(), false]);
  const page = await engine.listTasks({ limit: 3 });
  assert.deepEqual([page.tasks.map((task) => task.id), page.more], [
    ids.toReversed().slice(0, 3),
    true,
  ]);
  const next = await engine.listTasks({ limit: 5, before: page.tasks.at(-1)!.id });
  assert.deepEqual(next.tasks.map((task) => task.id), ids.toReversed().slice(3));
  const some = await engine.listTasks({ states: ["succeeded", "failed", "running"] });
  assert.deepEqual(some.tasks.map((task) => task.state), ["running", "failed", "succeeded"]);
  await assert.rejects(engine.listTasks({ limit: 5_000 }), taskError("invalid"));
});

Deno.test("watching reports the current state and each change, and ends with the tasks", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id } = await engine.submit(spec(), { array: { first: 0, last: 1 } });
  const seen: string[] = [];
  const watching = (async () => {
    for await (const task of engine.watchTasks([id], new AbortController().signal)) {
      seen.push(`${task.arrayIndex} ${task.state}`);
    }
  })();
  await eventually(10_000, () => seen.length === 2);
  assert.deepEqual(seen, ["0 queued", "1 queued"]);
  const worker = await FakeWorker.connect(engine);
  const given = await worker.take(2);
  for (const { ref } of given) await worker.finish(ref);
  await watching;
  // Between the tasks there is no order: one may have ended before the other is seen to run.
  for (const index of ["0", "1"]) {
    assert.equal(seen.findLast((each) => each.startsWith(index)), `${index} succeeded`);
  }
});

Deno.test("who wants changes alone is not told first what has not finished", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  await engine.submit(spec());
  const stop = new AbortController();
  const changes = engine.watchChanges(stop.signal, true)[Symbol.asyncIterator]();
  const first = changes.next();
  const { id } = await engine.submit(spec());
  const { value } = await first;
  assert.equal((value as { task: Task }).task.id, id);
  stop.abort();
  assert.equal((await changes.next()).done, true);
});

Deno.test("watching ends with an error when the coordinator stops", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id } = await engine.submit(spec());
  const watching = Array.fromAsync(engine.watchTasks([id], new AbortController().signal));
  await Promise.all([
    assert.rejects(watching, taskError("unavailable")),
    engine[Symbol.asyncDispose](),
  ]);
});

Deno.test("an array of large tasks is listed with one copy of its spec", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const large = spec({ argv: ["x".repeat(1_000_000)] });
  for (let i = 0; i < 20; i++) await engine.submit(large);
  const page = await engine.listTasks({ limit: 100 });
  assert.deepEqual([page.tasks.length, page.more], [16, true]);
  const rest = await engine.listTasks({ limit: 100, before: page.tasks.at(-1)!.id });
  assert.deepEqual([rest.tasks.length, rest.more], [4, false]);
  const { id } = await engine.submit(large, { array: { first: 1, last: 2_000 } });
  const tasks = await engine.getTask(id);
  assert.equal(tasks.length, 2_000);
  assert.equal(new Set(tasks.map((task) => task.spec)).size, 1);
});

Deno.test("a worker is selected by its id, whatever its labels say", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const labels = { worker: "w2", host: "h" };
  const [first, second] = [
    await FakeWorker.connect(engine, { labels }),
    await FakeWorker.connect(engine, {
      workerId: "w2",
      instance: "instance-2",
      home: "home-of-w2",
    }),
  ];
  first.session.credit(4);
  second.session.credit(4);
  const { id } = await engine.submit(spec({ selector: { worker: "w2" } }));
  await second.until(() => second.assigned.length === 1);
  assert.equal(second.assigned[0]!.ref.taskId, id);
  assert.equal(first.assigned.length, 0);
  await engine.submit(spec({ selector: { worker: "w1", host: "h" } }));
  await first.until(() => first.assigned.length === 1);
});

Deno.test("an array may be a list, and run only some of its elements at once", async () => {
  await using harness = new EngineHarness();
  const array = { first: 1, last: 1, more: [{ first: 3, last: 3 }, { first: 5, last: 7 }] };
  const limited = spec({ atOnce: 2 });
  const { id, taskIds } = await harness.engine.submit(limited, { array });
  assert.deepEqual(taskIds.map((each) => each.split(".")[1]), ["1", "3", "5", "6", "7"]);
  const worker = await FakeWorker.connect(harness.engine);
  worker.session.credit(10);
  await worker.until(() => worker.assigned.length >= 2);
  // Another task shows that there were slots: it comes later, and is not held up.
  const { id: other } = await harness.engine.submit(spec());
  await worker.until(() => worker.assigned.some(({ ref }) => ref.taskId === other));
  assert.equal(worker.assigned.length, 3);
  const waiting = (await harness.engine.getTask(taskIds[4]!))[0]!;
  assert.match(waiting.reason!, /at most 2 at once/);

  const [first, second] = worker.assigned;
  await worker.finish(first!.ref);
  await worker.until(() => worker.assigned.length === 4);
  const held = [second!.ref, worker.assigned[2]!.ref, worker.assigned[3]!.ref];
  await harness.restart();
  const again = await FakeWorker.connect(harness.engine, { held });
  again.session.credit(10);
  const { id: last } = await harness.engine.submit(spec());
  await again.until(() => again.assigned.some(({ ref }) => ref.taskId === last));
  assert.equal(again.assigned.length, 1, "two elements are still running");
  await again.finish(second!.ref);
  await again.until(() => again.assigned.length === 2);
  assert.equal(
    (await harness.engine.getTask(id)).filter((task) => task.state === "queued").length,
    1,
  );
});

Deno.test("a list with an index twice, or one that goes back, is refused", async () => {
  await using harness = new EngineHarness();
  for (const more of [[{ first: 2, last: 4 }], [{ first: 0, last: 0 }], [{ first: 9, last: 8 }]]) {
    const array = { first: 1, last: 2, more };
    await assert.rejects(harness.engine.submit(spec(), { array }), taskError("invalid"));
  }
});

Deno.test("standard input is kept, given to the worker, and not to clients", async () => {
  await using harness = new EngineHarness();
  const stdin = new Uint8Array([0, 255, 10]);
  const { id } = await harness.engine.submit(spec({ stdin }));
  await harness.crash();
  const worker = await FakeWorker.connect(harness.engine);
  const [assignment] = await worker.take();
  assert.deepEqual(assignment!.spec.stdin, stdin);
  const [task] = await harness.engine.getTask(id);
  assert.deepEqual(specFrom(wireTask(task!).spec), spec({ stdinBytes: 3 }));
  const tooLong = spec({ stdin: new Uint8Array(1024 * 1024 + 1) });
  await assert.rejects(harness.engine.submit(tooLong), taskError("invalid", /Standard input/));
});
