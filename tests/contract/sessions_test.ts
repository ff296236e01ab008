/** Sessions of workers: connecting again, ids, credits, draining, trouble. */
import assert from "node:assert/strict";
import { leaseTimes, limits } from "../../src/tasks/limits.ts";
import type { ServedSession } from "../../src/tasks/service.ts";
import { EngineHarness, FakeWorker, taskError, turn } from "../support/engine.ts";
import { eventually } from "../support/eventually.ts";
import { spec } from "../support/spec.ts";
import { assigned, running, stateOf } from "../support/one_task.ts";

Deno.test("a worker that reconnects in time keeps what it runs", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const { id, worker, ref } = await running(harness);
  worker.session.closed();
  const [lost] = await engine.listWorkers();
  assert.deepEqual([lost!.connected, lost!.health, lost!.running], [false, "lost", 1]);
  clock.turn(10_000);
  engine.advance();
  const back = await FakeWorker.connect(engine, { held: [ref] });
  assert.deepEqual(back.session.lost, []);
  clock.turn(10_000);
  engine.advance();
  await turn();
  assert.equal(await back.finish(ref), false);
  assert.deepEqual(await stateOf(harness, id), { state: "succeeded", attempts: ["succeeded"] });
});

Deno.test("a worker restarted in its folder gives up at once the attempts that it no longer has", async () => {
  await using harness = new EngineHarness();
  const { id, worker } = await running(harness);
  worker.session.closed();
  const next = await FakeWorker.connect(harness.engine, { instance: "instance-2" });
  await turn();
  assert.deepEqual(await stateOf(harness, id), { state: "queued", attempts: ["lost"] });
  const [again] = await next.take();
  assert.equal(again!.ref.attempt, 2);
});

Deno.test("a restarted worker reports the results that its previous start could not deliver", async () => {
  await using harness = new EngineHarness();
  const { id, worker, ref } = await running(harness);
  worker.session.closed();
  const next = await FakeWorker.connect(harness.engine, { instance: "instance-2", held: [ref] });
  assert.deepEqual(next.session.lost, []);
  assert.equal(await next.finish(ref), false);
  assert.equal((await stateOf(harness, id)).state, "succeeded");
});

Deno.test("a worker with the same id elsewhere gives nothing up: the first may be a paused host", async () => {
  for (const home of [undefined, "home-elsewhere"]) {
    await using harness = new EngineHarness();
    const { engine, clock } = harness;
    // It makes no difference whether the coordinator knows of its start.
    const { id, worker, ref } = await assigned(harness, {}, home === undefined);
    await assert.rejects(
      FakeWorker.connect(engine, { instance: "instance-2", home, address: "10.0.0.2:2" }),
      taskError("wrong_state", /in use by the worker at 127\.0\.0\.1:1/),
    );
    worker.session.closed();
    const namesake = await FakeWorker.connect(engine, { instance: "instance-2", home });
    await turn();
    assert.equal((await stateOf(harness, id)).state, "running");
    clock.turn(leaseTimes.leaseMs - 1);
    await namesake.session.heartbeat();
    engine.advance();
    await turn();
    assert.equal((await stateOf(harness, id)).state, "running", "its lease has not run out");
    // Heartbeats of the other worker with this id do not renew it.
    clock.turn(1);
    engine.advance();
    await turn();
    assert.deepEqual(await stateOf(harness, id), { state: "queued", attempts: ["lost"] });
    assert.equal(namesake.ended, undefined);
    assert.equal(await namesake.finish(ref), true);
  }
});

Deno.test("another instance may connect when the previous one is silent", async () => {
  await using harness = new EngineHarness();
  const { clock, engine } = harness;
  const { worker } = await running(harness);
  clock.turn(leaseTimes.lateAfterMs);
  const next = await FakeWorker.connect(engine, { instance: "instance-2" });
  assert.equal(worker.ended?.code, "wrong_state");
  assert.equal(next.ended, undefined);
  await assert.rejects(worker.session.heartbeat(), taskError("conflict"));
});

Deno.test("a new session of the same instance replaces the old one", async () => {
  await using harness = new EngineHarness();
  const { id, worker, ref } = await running(harness);
  const newer = await FakeWorker.connect(harness.engine, { held: [ref] });
  assert.equal(worker.ended?.code, "wrong_state");
  // Messages on the old stream are ignored.
  worker.session.finished({
    ref,
    state: "failed",
    exitCode: 1,
    signal: undefined,
    reason: undefined,
    startedAt: undefined,
    finishedAt: 0,
    stdoutBytes: 0,
    stderrBytes: 0,
  });
  worker.session.closed();
  await turn();
  assert.equal((await stateOf(harness, id)).state, "running");
  assert.equal(await newer.finish(ref), false);
});

Deno.test("an attempt that had started, and that its worker does not name any more, is lost", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const { id, worker } = await running(harness);
  assert.equal((await engine.getTask(id))[0]!.attempts[0]!.startedAt, clock.now());
  worker.session.closed();
  await FakeWorker.connect(engine);
  await turn();
  assert.deepEqual(await stateOf(harness, id), { state: "queued", attempts: ["lost"] });
});

Deno.test("a session that has ended hands nothing back", async () => {
  await using harness = new EngineHarness();
  const { id, worker, ref } = await assigned(harness);
  worker.session.closed();
  worker.session.released([ref]);
  await turn();
  assert.deepEqual(await stateOf(harness, id), { state: "running", attempts: ["running"] });
});

Deno.test("a worker that reads nothing gets nothing, and all as soon as it reads again", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const worker = await FakeWorker.connect(engine);
  const session = worker.session as ServedSession;
  await turn();
  session.blocked(true);
  session.credit(2);
  await engine.submit(spec());
  await engine.submit(spec());
  await turn();
  assert.equal(worker.assigned.length, 0);
  session.blocked(false);
  await worker.until(({ assigned }) => assigned.length === 2);
});

Deno.test("late, drained and disconnected workers get nothing new", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const worker = await FakeWorker.connect(engine);
  worker.session.credit(9);
  assert.equal((await engine.drainWorker("w1")).draining, true);
  await worker.until(() => worker.drains.length === 1);
  const { id } = await engine.submit(spec());
  assert.match((await engine.getTask(id))[0]!.reason!, /drained/);
  await harness.restart();
  const back = await FakeWorker.connect(harness.engine);
  assert.equal(back.session.draining, true, "a drained worker stays so");
  back.session.credit(9);
  await harness.engine.resumeWorker("w1");
  await back.until(() => back.assigned.length === 1);

  clock.turn(leaseTimes.lateAfterMs);
  const second = await harness.engine.submit(spec());
  await turn();
  assert.equal(back.assigned.length, 1);
  assert.match((await harness.engine.getTask(second.id))[0]!.reason!, /late/);
  await back.session.heartbeat();
  await back.until(() => back.assigned.length === 2);
  await assert.rejects(harness.engine.drainWorker("nope"), taskError("not_found"));
});

Deno.test("credits add up, and invalid counts do not reduce them", async () => {
  await using harness = new EngineHarness();
  const worker = await FakeWorker.connect(harness.engine);
  for (const count of [-5, -Infinity, 0.9]) worker.session.credit(count);
  for (let task = 0; task < 4; task++) await harness.engine.submit(spec());
  await turn();
  assert.equal(worker.assigned.length, 0);
  assert.equal((await worker.take(1)).length, 1);
  assert.equal((await worker.take(2)).length, 2);
  await turn();
  assert.equal(worker.assigned.length, 3);
});

Deno.test("an invalid hello is refused", async () => {
  await using harness = new EngineHarness();
  const bad = [
    { workerId: "" },
    { workerId: "a b" },
    { workerId: "x".repeat(300) },
    { instance: "" },
    { home: "x" },
    { slots: 0 },
    { slots: 1.5 },
    { labels: { "bad name": "x" } },
    { warnings: ["\0"] },
  ];
  for (const more of bad) {
    await assert.rejects(FakeWorker.connect(harness.engine, more), taskError("invalid"));
  }
  assert.deepEqual(await harness.engine.listWorkers(), []);
});

Deno.test("at the limit of known workers a new one replaces one that is gone", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { worker } = await assigned(harness);
  worker.session.closed();
  (await FakeWorker.connect(engine, { workerId: "drained" })).session.closed();
  await engine.drainWorker("drained");
  await FakeWorker.connect(engine, { workerId: "connected" });
  for (let number = 0; number < limits.maxWorkers - 2; number++) {
    const other = await FakeWorker.connect(engine, { workerId: `other-${number}` });
    other.session.closed();
  }
  await turn();
  const ids = new Set((await engine.listWorkers()).map(({ id }) => id));
  assert.equal(ids.size, limits.maxWorkers);
  for (const id of ["w1", "drained", "connected", "other-1"]) assert.ok(ids.has(id), id);
  assert.ok(!ids.has("other-0"));
  await harness.restart();
  assert.equal((await harness.engine.listWorkers()).length, limits.maxWorkers);
});

Deno.test("a worker in trouble gets no work, and says why", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const worker = await FakeWorker.connect(engine);
  await turn();
  await worker.session.heartbeat("no inode left");
  worker.session.credit(4);
  const { id } = await engine.submit(spec());
  await turn();
  const [info] = await engine.listWorkers();
  assert.deepEqual([info!.health, info!.trouble], ["healthy", "no inode left"]);
  assert.match((await engine.getTask(id))[0]!.reason!, /can start tasks now; w1: no inode left/);
  assert.equal(worker.assigned.length, 0);
  await worker.session.heartbeat();
  await worker.until(({ assigned }) => assigned.length === 1);
  assert.equal((await engine.listWorkers())[0]!.trouble, undefined);
  assert.throws(() => worker.session.released([], "two\nlines"), taskError("invalid"));
  // Through the wire it rejects: a caller that sends it is at fault.
  await assert.rejects(
    async () => await worker.session.heartbeat("two\nlines"),
    taskError("invalid"),
  );
});

Deno.test("a bound certificate uses ids that it names or was the first to use", async () => {
  await using harness = new EngineHarness();
  const at = (workerId: string, publicKey: string, namesId: boolean, isBound = true) =>
    FakeWorker.connect(harness.engine, {
      workerId,
      home: `home-of-${workerId}`,
      certificate: { publicKey, isBound, namesId },
    }).then((worker) => worker.session.closed());
  await at("first", "key-a", false);
  await assert.rejects(at("first", "key-b", false), taskError("forbidden", /another certificate/));
  await harness.restart();
  await assert.rejects(at("first", "key-b", false), taskError("forbidden"));
  await at("first", "key-a", false);
  // A certificate that names the id takes it over, as after a renewal with a new key.
  await at("first", "key-c", true);
  await assert.rejects(at("first", "key-a", false), taskError("forbidden"));
  // Without a role everything goes, and the id stays whose it was.
  await at("first", "key-d", false, false);
  await at("first", "key-c", false);
});

Deno.test("a worker that is declared gone loses its leases at once, a connected one stays", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id, worker, ref } = await running(harness);
  await assert.rejects(engine.forgetWorker("w1"), taskError("wrong_state", /is connected/));
  await assert.rejects(engine.forgetWorker("w9"), taskError("not_found"));
  worker.session.closed();
  assert.equal((await engine.forgetWorker("w1")).running, 1);
  assert.deepEqual(await engine.listWorkers(), []);
  await turn();
  assert.deepEqual(await stateOf(harness, id), { state: "queued", attempts: ["lost"] });
  await harness.restart();
  assert.deepEqual(await harness.engine.listWorkers(), []);
  // It was only cut off: what it still runs is no longer its own.
  const back = await FakeWorker.connect(harness.engine, { held: [ref] });
  assert.deepEqual(back.session.lost, [ref]);
});

Deno.test("a cancelled task that is handed back before it started is cancelled, and runs nowhere", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id } = await engine.submit(spec());
  const worker = await FakeWorker.connect(engine);
  worker.session.credit(2);
  await worker.until(() => worker.assigned.length === 1);
  const [given] = worker.assigned;
  const [before] = await engine.listWorkers();
  assert.deepEqual([before!.running, before!.assigned], [0, 1], "it has not been started");
  assert.equal((await engine.cancelTask(id))[0]!.cancelRequested, true);
  worker.session.released([given!.ref]);
  await eventually(5_000, async () => (await engine.getTask(id))[0]!.state === "cancelled");
  const [task] = await engine.getTask(id);
  assert.match(task!.reason!, /before it started/);
  const { id: other } = await engine.submit(spec());
  await worker.until(() => worker.assigned.length === 2);
  assert.equal(worker.assigned[1]!.ref.taskId, other);
  worker.session.started(worker.assigned[1]!.ref, 1);
  await eventually(5_000, async () => (await engine.listWorkers())[0]!.running === 1);
  assert.equal((await engine.listWorkers())[0]!.assigned, 0);
});
