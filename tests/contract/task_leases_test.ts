import assert from "node:assert/strict";
import { leaseTimes } from "../../src/tasks/limits.ts";
import { EngineHarness, FakeWorker, taskError, turn } from "../support/engine.ts";
import { spec } from "../support/spec.ts";
import { running, stateOf } from "../support/one_task.ts";

Deno.test("a task's own lease counts in place of the coordinator's", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const lengths = [undefined, 10_000, 60_000, 0];
  const ids: string[] = [];
  for (const lostAfterMs of lengths) {
    const own = lostAfterMs === undefined ? {} : { lostAfterMs };
    ids.push((await engine.submit(spec({ noRequeue: true, ...own }))).id);
  }
  const worker = await FakeWorker.connect(engine, { keepsTaskLeases: true });
  for (const { ref } of await worker.take(lengths.length)) {
    worker.session.started(ref, clock.now());
  }
  await turn();
  const states = async () =>
    await Promise.all(ids.map(async (id) => (await stateOf(harness, id)).state));
  const after = async (ms: number) => {
    clock.turn(ms);
    harness.engine.advance();
    await turn();
    return await states();
  };
  assert.deepEqual(await after(9_999), ["running", "running", "running", "running"]);
  assert.deepEqual(await after(1), ["running", "lost", "running", "running"]);
  assert.equal(worker.ended?.code, "conflict", "it has to say what it holds");
  assert.deepEqual(await after(5_000), ["lost", "lost", "running", "running"]);
  assert.deepEqual(await after(44_999), ["lost", "lost", "running", "running"]);
  assert.deepEqual(await after(1), ["lost", "lost", "lost", "running"]);
  assert.deepEqual(await after(30 * 86_400_000), ["lost", "lost", "lost", "running"]);
  // A restart does not forget whose it is, and a worker that was restarted says that it is gone.
  await harness.crash();
  assert.deepEqual(await after(86_400_000), ["lost", "lost", "lost", "running"]);
  await FakeWorker.connect(harness.engine, { instance: "instance-2" });
  await turn();
  assert.deepEqual(await states(), ["lost", "lost", "lost", "lost"]);
  const [task] = await harness.engine.getTask(ids[2]!);
  assert.match(task!.reason!, /not heard from for 1m/);
});

Deno.test("a person can end a lease that nothing else ends", async () => {
  await using harness = new EngineHarness();
  const { id, worker } = await running(harness, { lostAfterMs: 0 });
  worker.session.closed();
  harness.clock.turn(86_400_000);
  harness.engine.advance();
  assert.equal((await stateOf(harness, id)).state, "running");
  await harness.engine.forgetWorker("w1");
  assert.deepEqual(await stateOf(harness, id), { state: "queued", attempts: ["lost"] });
});

Deno.test("a task that is cancelled does not wait for a worker that may never come back", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const { id, worker, ref } = await running(harness, { lostAfterMs: 0 });
  worker.session.closed();
  clock.turn(leaseTimes.leaseMs);
  await engine.cancelTask(id);
  engine.advance();
  await turn();
  assert.equal((await stateOf(harness, id)).state, "cancelled");
  const back = await FakeWorker.connect(engine, { held: [ref] });
  assert.deepEqual(back.session.lost, [ref], "it ends the process");
});

Deno.test("a host that was set up anew under its old name does not keep what it held before", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const { id, worker } = await running(harness, { lostAfterMs: 0 });
  worker.session.closed();
  clock.turn(leaseTimes.lateAfterMs);
  const anew = { instance: "instance-2", home: "another-home" };
  const again = await FakeWorker.connect(engine, anew);
  await assert.rejects(engine.forgetWorker("w1"), taskError("wrong_state"), "it may be paused");
  clock.turn(leaseTimes.leaseMs);
  await again.session.heartbeat();
  engine.advance();
  assert.equal((await stateOf(harness, id)).state, "running");
  assert.equal((await engine.forgetWorker("w1")).running, 1);
  assert.deepEqual(await stateOf(harness, id), { state: "queued", attempts: ["lost"] });
  assert.equal(again.ended, undefined, "its new process goes on");
});

Deno.test("no lease of a worker that does not know a task's own is shorter than what it was promised", async () => {
  await using harness = new EngineHarness();
  const { id, worker } = await running(harness, { lostAfterMs: 10_000 });
  worker.session.closed();
  harness.clock.turn(leaseTimes.leaseMs - 1);
  harness.engine.advance();
  await turn();
  assert.equal((await stateOf(harness, id)).state, "running");
  harness.clock.turn(1);
  harness.engine.advance();
  await turn();
  assert.equal((await stateOf(harness, id)).state, "queued");
});

Deno.test("a coordinator that was killed and starts with shorter leases keeps what it promised", async () => {
  await using harness = new EngineHarness();
  const { id } = await running(harness);
  await harness.crash({ leaseMs: 10_000 });
  harness.clock.turn(leaseTimes.leaseMs - 1);
  harness.engine.advance();
  await turn();
  assert.equal((await stateOf(harness, id)).state, "running");
  harness.clock.turn(1);
  harness.engine.advance();
  await turn();
  assert.equal((await stateOf(harness, id)).state, "queued");
});
