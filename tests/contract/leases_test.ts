import assert from "node:assert/strict";
import { leaseTimes } from "../../src/tasks/limits.ts";
import { EngineHarness, FakeWorker, taskError, turn } from "../support/engine.ts";
import { spec } from "../support/spec.ts";
import { assigned, running, stateOf } from "../support/one_task.ts";

Deno.test("heartbeats keep a lease, silence ends it, and the task goes to another", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const { id, worker, ref } = await running(harness);
  for (let second = 0; second < 60; second++) {
    clock.turn(leaseTimes.heartbeatMs);
    await worker.session.heartbeat();
    engine.advance();
  }
  assert.deepEqual(await stateOf(harness, id), { state: "running", attempts: ["running"] });

  clock.turn(leaseTimes.leaseMs - 1);
  engine.advance();
  await turn();
  assert.equal((await stateOf(harness, id)).state, "running");
  clock.turn(1);
  engine.advance();
  await turn();
  assert.deepEqual(await stateOf(harness, id), { state: "queued", attempts: ["lost"] });
  assert.equal(worker.ended?.code, "conflict");

  const other = await FakeWorker.connect(engine, { workerId: "w2", home: "home-of-w2" });
  const [second] = await other.take();
  assert.equal(second!.ref.attempt, 2);
  assert.ok(second!.ref.fence > ref.fence);

  // The first worker returns with its result, which is kept as superseded.
  const back = await FakeWorker.connect(engine, { held: [ref] });
  assert.deepEqual(back.session.lost, [ref]);
  assert.equal(await back.finish(ref, { exitCode: 9, state: "failed" }), true);
  const [task] = await engine.getTask(id);
  assert.deepEqual(task!.attempts.map((each) => [each.state, each.superseded, each.exitCode]), [
    ["lost", true, 9],
    ["running", false, undefined],
  ]);
  assert.equal(await other.finish(second!.ref), false);
  assert.equal((await stateOf(harness, id)).state, "succeeded");
  const { superseded, lostAttempts, leaseExpiries } = engine.stats();
  assert.deepEqual([superseded, lostAttempts, leaseExpiries], [1, 1, 1]);
});

Deno.test("an assignment that never arrived has no effect", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id } = await engine.submit(spec());
  const worker = await FakeWorker.connect(engine);
  const [first] = await worker.take();
  worker.session.closed();
  const back = await FakeWorker.connect(engine);
  await turn();
  assert.deepEqual(await stateOf(harness, id), { state: "queued", attempts: [] });
  const [second] = await back.take();
  assert.equal(second!.ref.attempt, 1);
  assert.ok(second!.ref.fence > first!.ref.fence);
  assert.equal(await back.finish(first!.ref), true);
  assert.equal(await back.finish(second!.ref), false);
  // Now it is the result of another attempt with the same number.
  assert.equal(await back.finish(first!.ref, { state: "failed", exitCode: 9 }), true);
  const [task] = await engine.getTask(id);
  assert.deepEqual(task!.attempts.map((each) => [each.fence, each.superseded, each.exitCode]), [
    [second!.ref.fence, false, 0],
  ]);
});

Deno.test("a late result changes no later attempt that was lost, too", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const { id } = await engine.submit(spec());
  const worker = await FakeWorker.connect(engine);
  const [first] = await worker.take();
  worker.session.closed();
  const back = await FakeWorker.connect(engine);
  const [second] = await back.take();
  assert.equal(second!.ref.attempt, 1);
  back.session.started(second!.ref, clock.now());
  await turn();
  clock.turn(leaseTimes.leaseMs);
  engine.advance();
  await turn();
  const late = await FakeWorker.connect(engine);
  assert.equal(await late.finish(first!.ref, { state: "failed", exitCode: 9 }), true);
  const [task] = await engine.getTask(id);
  assert.deepEqual(task!.attempts.map((each) => [each.state, each.superseded, each.exitCode]), [
    ["lost", false, undefined],
  ]);
});

Deno.test("a cancel in the turn of an assignment reaches the worker after it, one in that of the end does not", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const worker = await FakeWorker.connect(engine);
  await turn();
  const order: string[] = [];
  const assign = worker.assign.bind(worker);
  worker.assign = (assignments) => {
    order.push("assign");
    assign(assignments);
  };
  const cancel = worker.cancel.bind(worker);
  worker.cancel = (ref) => {
    order.push("cancel");
    cancel(ref);
  };
  // At each step of the way from the queue to the worker.
  for (let steps = 0; steps < 12; steps++) {
    order.length = 0;
    worker.session.credit(1);
    const submitted = engine.submit(spec());
    const { id } = await submitted;
    for (let step = 0; step < steps; step++) await null;
    if (steps % 3 === 2) await turn();
    const [cancelled] = await engine.cancelTask(id);
    await turn();
    const { ref } = worker.assigned.at(-1) ?? {};
    if (cancelled!.state === "cancelled") {
      assert.notEqual(ref?.taskId, id, "it was not assigned");
      continue;
    }
    assert.equal(ref?.taskId, id);
    assert.deepEqual(order, ["assign", "cancel"]);
    assert.deepEqual(worker.cancelled.at(-1), ref);
    await worker.finish(ref!, { state: "cancelled" });
    assert.equal((await stateOf(harness, id)).state, "cancelled");
  }
  assert.ok(worker.cancelled.length > 0);

  worker.session.credit(1);
  const { id } = await engine.submit(spec());
  await worker.until(({ assigned }) => assigned.at(-1)!.ref.taskId === id);
  const { ref } = worker.assigned.at(-1)!;
  const finished = worker.finish(ref);
  await assert.rejects(
    engine.cancelTask(id),
    taskError("wrong_state", /already ended \(succeeded\)/),
  );
  assert.equal(await finished, false);
  assert.notDeepEqual(worker.cancelled.at(-1), ref);
});

Deno.test("a task handed back before its start returns to its place in the queue", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const ids = [await engine.submit(spec()), await engine.submit(spec())].map(({ id }) => id);
  const worker = await FakeWorker.connect(engine);
  const given = await worker.take(2);
  worker.session.released([given[0]!.ref]);
  await turn();
  assert.deepEqual(await stateOf(harness, ids[0]!), { state: "queued", attempts: [] });
  const [again] = await worker.take();
  assert.deepEqual([again!.ref.taskId, again!.ref.attempt], [ids[0], 1]);
});

Deno.test("an attempt that is handed back with output counts as lost: the next has a log of its own", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id, worker, ref } = await running(harness);
  {
    await using upload = await engine.uploadLog(ref);
    await upload.append("stdout", 0, new TextEncoder().encode("first"));
  }
  worker.session.released([ref]);
  const [again] = await worker.take();
  assert.deepEqual([again!.ref.taskId, again!.ref.attempt], [id, 2]);
  const [task] = await engine.getTask(id);
  assert.deepEqual(task!.attempts.map(({ state, stdoutBytes }) => [state, stdoutBytes]), [
    ["lost", 5],
    ["running", 0],
  ]);
});

Deno.test("a task that is lost too often is given up", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const { id } = await engine.submit(spec({ retries: 9 }));
  for (let round = 0; round <= leaseTimes.maxRequeues; round++) {
    const worker = await FakeWorker.connect(engine, { instance: `instance-${round}` });
    worker.session.credit(1);
    if (round > 1) {
      // It may take its workers down: they get time to recover.
      await turn();
      assert.equal(worker.assigned.length, 0);
      clock.turn(10_000 * 2 ** (round - 2));
      await worker.session.heartbeat();
      engine.advance();
    }
    await worker.until(({ assigned }) => assigned.length === 1);
    worker.session.started(worker.assigned[0]!.ref, 0);
    worker.session.closed();
  }
  await FakeWorker.connect(engine, { instance: "instance-last" });
  await turn();
  const [task] = await engine.getTask(id);
  assert.equal(task!.state, "lost");
  assert.match(task!.reason!, /Lost 4 times.*restarted/);
});

Deno.test("a result that is reported twice counts once", async () => {
  await using harness = new EngineHarness();
  const { id, worker, ref } = await running(harness);
  assert.equal(await worker.finish(ref), false);
  assert.equal(await worker.finish(ref, { state: "failed" }), false);
  assert.deepEqual(await stateOf(harness, id), { state: "succeeded", attempts: ["succeeded"] });
});

Deno.test("a coordinator that was stopped waits for its workers before it reassigns their tasks", async () => {
  await using harness = new EngineHarness();
  await harness.restart({ stoppedFromMs: 3_000 });
  const { id, worker, ref } = await running(harness);
  harness.clock.turn(2 * leaseTimes.leaseMs);
  harness.engine.advance();
  await turn();
  assert.equal(await worker.finish(ref, { state: "succeeded" }), false);
  assert.deepEqual(await stateOf(harness, id), { state: "succeeded", attempts: ["succeeded"] });
});

Deno.test("one worker cannot finish another's task", async () => {
  await using harness = new EngineHarness();
  const { id, ref } = await running(harness);
  const other = await FakeWorker.connect(harness.engine, { workerId: "w2", home: "home-of-w2" });
  assert.equal(await other.finish(ref, { state: "failed" }), true);
  assert.deepEqual(await stateOf(harness, id), { state: "running", attempts: ["running"] });
});

Deno.test("one worker cannot start or hand back another's task", async () => {
  await using harness = new EngineHarness();
  const { id, ref } = await assigned(harness);
  const other = await FakeWorker.connect(harness.engine, { workerId: "w2", home: "home-of-w2" });
  other.session.started(ref, harness.clock.now());
  other.session.released([ref]);
  await turn();
  const [task] = await harness.engine.getTask(id);
  assert.deepEqual(task!.attempts.map((each) => [each.state, each.startedAt]), [
    ["running", undefined],
  ]);
});

Deno.test("an orderly restart asks workers to keep their tasks, and does not reassign them", async () => {
  await using harness = new EngineHarness();
  const { id, worker, ref } = await running(harness);
  await harness.restart();
  assert.deepEqual(worker.holds, [leaseTimes.holdMs]);
  assert.equal(worker.ended?.code, "unavailable");
  harness.clock.turn(leaseTimes.holdMs - 1);
  harness.engine.advance();
  await turn();
  assert.equal((await stateOf(harness, id)).state, "running");
  const back = await FakeWorker.connect(harness.engine, { held: [ref] });
  assert.deepEqual(back.session.lost, []);
  // After its next heartbeat its lease has the usual length.
  back.session.closed();
  harness.clock.turn(leaseTimes.leaseMs);
  harness.engine.advance();
  await turn();
  assert.equal((await stateOf(harness, id)).state, "queued");
});

Deno.test("a task submitted while the coordinator stops is assigned after its restart", async () => {
  await using harness = new EngineHarness();
  const worker = await FakeWorker.connect(harness.engine);
  await turn();
  worker.session.credit(1);
  const submitted = harness.engine.submit(spec());
  const restarted = harness.restart();
  const { id } = await submitted;
  await restarted;
  // A worker that holds its leases must not have one that the coordinator did not promise to keep.
  assert.deepEqual(worker.assigned, []);
  assert.deepEqual(await stateOf(harness, id), { state: "queued", attempts: [] });
});

Deno.test("the promise to keep tasks survives a second restart, and expires", async () => {
  await using harness = new EngineHarness();
  const { id } = await running(harness);
  await harness.restart();
  await harness.restart();
  harness.clock.turn(leaseTimes.leaseMs);
  harness.engine.advance();
  await turn();
  assert.equal((await stateOf(harness, id)).state, "running");
  harness.clock.turn(leaseTimes.holdMs);
  harness.engine.advance();
  await turn();
  assert.equal((await stateOf(harness, id)).state, "queued");
});

Deno.test("a lease of a disconnected worker runs its full length after a restart", async () => {
  await using harness = new EngineHarness();
  const { id, worker } = await running(harness);
  worker.session.closed();
  await harness.restart();
  harness.clock.turn(leaseTimes.leaseMs - 1);
  harness.engine.advance();
  await turn();
  assert.equal((await stateOf(harness, id)).state, "running");
  harness.clock.turn(1);
  harness.engine.advance();
  await turn();
  assert.equal((await stateOf(harness, id)).state, "queued");
});

Deno.test("a cancellation survives a cut connection and a restart", async () => {
  await using harness = new EngineHarness();
  const { id, worker, ref } = await running(harness);
  worker.session.closed();
  await harness.engine.cancelTask(id);
  await harness.restart();
  const brief = await FakeWorker.connect(harness.engine, { held: [ref] });
  brief.session.closed();
  await turn();
  assert.deepEqual(brief.cancelled, [], "a session that has ended is told nothing");
  const back = await FakeWorker.connect(harness.engine, { held: [ref] });
  await back.until(() => back.cancelled.length === 1);
  assert.deepEqual(back.cancelled, [ref]);
  await back.finish(ref, { state: "cancelled" });
  assert.equal((await stateOf(harness, id)).state, "cancelled");
});

Deno.test("a cancelled task whose worker is lost is cancelled, not retried", async () => {
  await using harness = new EngineHarness();
  const { id } = await running(harness, { retries: 5 });
  await harness.engine.cancelTask(id);
  harness.clock.turn(leaseTimes.leaseMs);
  harness.engine.advance();
  await turn();
  assert.deepEqual(await stateOf(harness, id), { state: "cancelled", attempts: ["lost"] });
});

Deno.test("an attempt that its host could not start uses no retry and goes to another worker", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const { id, worker, ref } = await running(harness);
  const other = await FakeWorker.connect(engine, { workerId: "w2", home: "home-of-w2" });
  await turn();
  worker.session.released([ref], "no inode left");
  // Both have credits: only the other one gets it.
  worker.session.credit(1);
  const [again] = await other.take();
  assert.deepEqual(again!.ref, { taskId: id, attempt: 1, fence: ref.fence + 1 });
  assert.equal(worker.assigned.length, 1);
  // Given back there too, it returns to the first: that is another worker than the last.
  other.session.released([again!.ref], "no inode left");
  await worker.until(({ assigned }) => assigned.length === 2);
  assert.equal(clock.monotonic(), 0);
});

Deno.test("a task that may not run again ends with its first loss, also after a restart", async () => {
  await using harness = new EngineHarness();
  const { id, worker } = await running(harness, { noRequeue: true });
  await harness.restart();
  worker.session.closed();
  await FakeWorker.connect(harness.engine, { instance: "instance-2" });
  await turn();
  const [task] = await harness.engine.getTask(id);
  assert.equal(task!.state, "lost");
  assert.match(task!.reason!, /^Lost: .*restarted/);
});

Deno.test("a lease has the length that the coordinator was given", async () => {
  await using harness = new EngineHarness();
  await harness.restart({ leaseMs: 300_000 });
  const { engine, clock } = harness;
  const { id, worker, ref } = await running(harness);
  assert.equal(worker.session.leaseMs, 300_000);
  worker.session.closed();
  clock.turn(299_999);
  engine.advance();
  const back = await FakeWorker.connect(engine, { held: [ref] });
  assert.deepEqual(back.session.lost, []);
  back.session.closed();
  clock.turn(300_000);
  engine.advance();
  await turn();
  assert.deepEqual(await stateOf(harness, id), { state: "queued", attempts: ["lost"] });
  assert.match((await engine.getTask(id))[0]!.attempts[0]!.reason!, /for 5m/);
});
