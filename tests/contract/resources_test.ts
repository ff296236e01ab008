import assert from "node:assert/strict";
import { EngineHarness, FakeWorker, taskError, turn } from "../support/engine.ts";
import { spec } from "../support/spec.ts";

const gpu = (count: number) => spec({ resources: { gpu: count } });

Deno.test("resources are granted by number, and never to two tasks at once", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const worker = await FakeWorker.connect(engine, { resources: { gpu: 2 } });
  worker.session.credit(20);
  for (let at = 0; at < 3; at++) await engine.submit(gpu(1));
  const { id: plain } = await engine.submit(spec());
  await worker.until(() => worker.assigned.some(({ ref }) => ref.taskId === plain));
  const granted = () => worker.assigned.map((each) => each.granted?.gpu?.[0]);
  assert.deepEqual(granted(), [0, 1, undefined]);
  assert.deepEqual((await engine.listWorkers())[0]!.resourcesUsed, { gpu: 2 });
  const [waiting] = (await engine.listTasks({ states: ["queued"] })).tasks;
  assert.match(waiting!.reason!, /^Waits for a free slot and gpu=1$/);
  await worker.finish(worker.assigned[1]!.ref);
  await worker.until(() => worker.assigned.length === 4);
  assert.deepEqual(granted(), [0, 1, undefined, 1]);
});

Deno.test("what is granted stays so across a crash of the coordinator and a return of the worker", async () => {
  await using harness = new EngineHarness();
  const before = await FakeWorker.connect(harness.engine, { resources: { gpu: 2 } });
  await harness.engine.submit(gpu(1));
  const [held] = await before.take();
  assert.deepEqual(held!.granted, { gpu: [0] });
  await harness.crash();
  const { engine } = harness;
  await engine.submit(gpu(2));
  await engine.submit(gpu(1));
  const worker = await FakeWorker.connect(engine, { resources: { gpu: 2 }, held: [held!.ref] });
  worker.session.credit(20);
  const { id: plain } = await engine.submit(spec());
  await worker.until(() => worker.assigned.some(({ ref }) => ref.taskId === plain));
  await turn();
  assert.equal(worker.assigned.length, 1, "the task for two GPUs comes first, and waits for both");
  await worker.finish(held!.ref);
  await worker.until(() => worker.assigned.length === 2);
  assert.deepEqual(worker.assigned[1]!.granted, { gpu: [0, 1] });
  await worker.finish(worker.assigned[1]!.ref);
  await worker.until(() => worker.assigned.length === 3);
  assert.deepEqual(worker.assigned[2]!.granted, { gpu: [0] });
});

Deno.test("a task that wants more than any worker has waits, and holds up no other", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const worker = await FakeWorker.connect(engine, { resources: { gpu: 2 } });
  worker.session.credit(20);
  const { id } = await engine.submit(gpu(4), { array: { first: 0, last: 1 } });
  await engine.submit(gpu(2));
  await worker.until(() => worker.assigned.length === 1);
  assert.match(
    (await engine.getTask(id))[0]!.reason!,
    /^No connected worker that matches has gpu=4$/,
  );
  await harness.crash();
  const again = await FakeWorker.connect(harness.engine, {
    resources: { gpu: 4 },
    held: [worker.assigned[0]!.ref],
  });
  again.session.credit(20);
  await again.finish(worker.assigned[0]!.ref);
  await again.until(() => again.assigned.length === 1);
  assert.deepEqual(again.assigned[0]!.granted, { gpu: [0, 1, 2, 3] });
});

Deno.test("a lost lease frees its resources, and a process that is gone does not", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const worker = await FakeWorker.connect(engine, { resources: { gpu: 1 } });
  await engine.submit(gpu(1));
  await engine.submit(gpu(1));
  const [first] = await worker.take();
  worker.session.closed();
  // Another process of the same worker, which proves nothing about the first.
  const other = { instance: "instance-2", home: undefined, resources: { gpu: 1 } };
  const second = await FakeWorker.connect(engine, other);
  second.session.credit(5);
  const { id: plain } = await engine.submit(spec());
  await second.until(() => second.assigned.some(({ ref }) => ref.taskId === plain));
  assert.equal(second.assigned.length, 1);
  clock.turn(60_000);
  await second.session.heartbeat();
  engine.advance();
  await second.until(() => second.assigned.length >= 2);
  assert.deepEqual(second.assigned[1]!.granted, first!.granted);
});

Deno.test("resources with odd names or numbers are refused", async () => {
  await using harness = new EngineHarness();
  for (const resources of [{ GPU: 1 }, { "a=b": 1 }, { gpu: -1 }, { gpu: 1.5 }, { gpu: 9_999 }]) {
    await assert.rejects(
      harness.engine.submit(spec({ resources: resources as Record<string, number> })),
      taskError("invalid"),
    );
  }
});
