import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { DataDisk } from "../../src/coordinator/disk_space.ts";
import { isFinished } from "../../src/tasks/task.ts";
import { EngineHarness, FakeWorker, taskError, type TestEngine } from "../support/engine.ts";
import { spec } from "../support/spec.ts";
import { eventually } from "../support/eventually.ts";

const day = 86_400_000;
const bytes = 1_000_000;

/** Runs a task to its end, with some output and an artifact. */
async function finish(engine: TestEngine, worker: FakeWorker, more: { state?: "failed" } = {}) {
  const { id } = await engine.submit(spec(), { idempotencyKey: crypto.randomUUID() });
  const [assignment] = await worker.take();
  const { ref } = assignment!;
  await using log = await engine.uploadLog(ref);
  await log.append("stdout", 0, new Uint8Array(bytes));
  await log.end({ stdout: bytes, stderr: 0 });
  await using file = await engine.uploadArtifact(ref, { path: "a/b", size: 3, mode: 0o644 });
  await file.append(0, new TextEncoder().encode("abc"));
  await file.end("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  await worker.finish(ref, { stdoutBytes: bytes, ...more });
  return id;
}

/** Names of all files of logs and artifacts. */
function files(harness: EngineHarness): string[] {
  const found: string[] = [];
  const walk = (folder: string) => {
    for (const { name, isDirectory } of Deno.readDirSync(folder)) {
      if (isDirectory) walk(join(folder, name));
      else found.push(name);
    }
  };
  for (const each of ["logs", "artifacts"]) walk(join(harness.folder, "data", each));
  return found;
}

async function ids(engine: TestEngine): Promise<string[]> {
  return (await engine.listTasks({})).tasks.map(({ id }) => id);
}

/** Lets retention take its steps until the condition holds. */
async function retained(harness: EngineHarness, holds: () => Promise<boolean>): Promise<void> {
  await eventually(10_000, async () => {
    harness.clock.turn(61_000);
    harness.engine.advance();
    return await holds();
  });
}

class FakeDisk implements DataDisk {
  free = 1e12;
  readonly hasReserve = true;
  readonly reserveBytes = 0;
  space = () => ({ free: this.free, total: 1e12 });
  giveUpReserve() {}
  restoreReserve() {}
}

Deno.test("a deleted task leaves no file, no row and no idempotency key", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const worker = await FakeWorker.connect(engine);
  const id = await finish(engine, worker);
  assert.equal(files(harness).length, 2);
  assert.equal(engine.stats().storedBytes.output, bytes + 3);
  const [deleted] = await engine.deleteTask(id);
  assert.equal(deleted!.state, "succeeded");
  assert.deepEqual(files(harness), []);
  assert.equal(engine.stats().storedBytes.output, 0);
  await assert.rejects(engine.getTask(id), taskError("not_found"));
  await assert.rejects(engine.deleteTask(id), taskError("not_found"));
  await assert.rejects(engine.retryTask(id), taskError("not_found"));
  assert.equal(engine.stats().tasks.succeeded, 0);
  await harness.engine[Symbol.asyncDispose]();
  {
    using db = new DatabaseSync(join(harness.folder, "data", "tasks.db"));
    for (const table of ["tasks", "attempts", "artifacts", "submissions"]) {
      assert.equal(db.prepare(`SELECT count(*) AS n FROM ${table}`).get()!.n, 0, table);
    }
  }
  harness.open();
  assert.deepEqual(await ids(harness.engine), []);
});

Deno.test("a task that is queued or running is not deleted, nor an array with such an element", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const worker = await FakeWorker.connect(engine);
  const array = await engine.submit(spec(), { array: { first: 0, last: 2 } });
  const [first, second] = await worker.take(2);
  await worker.finish(first!.ref);
  for (const id of [array.id, ...array.taskIds.slice(1)]) {
    await assert.rejects(engine.deleteTask(id), taskError("wrong_state", /ended/));
  }
  const all = { olderThanMs: 0 };
  assert.equal((await engine.pruneTasks(all)).tasks, 0, "the array has not ended");
  await worker.finish(second!.ref);
  const [third] = await worker.take();
  await worker.finish(third!.ref);
  assert.equal((await engine.deleteTask(array.id)).length, 3);
  assert.deepEqual(await ids(engine), []);
});

Deno.test("a deletion that was begun is completed when its caller has gone", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const array = await engine.submit(spec(), { array: { first: 0, last: 249 } });
  await engine.cancelTask(array.id);
  for await (const { id } of engine.served.deleteTask(array.id)) {
    assert.equal(id, array.taskIds[0]);
    assert.equal(engine.stats().tasks.cancelled, 150, "the rest is not held in memory");
    break;
  }
  assert.deepEqual(await ids(engine), []);
});

Deno.test("watching ends though a task was deleted before its turn came", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const array = await engine.submit(spec(), { array: { first: 0, last: 2 } });
  await engine.cancelTask(array.id);
  const seen: string[] = [];
  const never = new AbortController();
  for await (const { id } of engine.served.watchTasks([array.id], never.signal)) {
    if (seen.push(id) === 1) await engine.deleteTask(array.taskIds[1]!);
  }
  assert.deepEqual(seen, [array.taskIds[0], array.taskIds[2]]);
});

Deno.test("pruning takes old tasks in the given states only, and can be tried first", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const old = await FakeWorker.connect(engine);
  await finish(engine, old, { state: "failed" });
  const succeeded = await finish(engine, old);
  clock.turn(3 * day);
  engine.advance();
  const worker = await FakeWorker.connect(engine, { instance: "instance-2" });
  const young = await finish(engine, worker);
  const query = { olderThanMs: day, states: ["failed" as const] };
  const counted = { tasks: 1, bytes: bytes + 3 };
  assert.deepEqual(await engine.pruneTasks({ ...query, dryRun: true }), counted);
  assert.equal((await ids(engine)).length, 3);
  assert.deepEqual(await engine.pruneTasks(query), counted);
  assert.deepEqual((await ids(engine)).toSorted(), [succeeded, young].toSorted());
  await assert.rejects(
    engine.pruneTasks({ olderThanMs: 0, states: ["queued"] }),
    taskError("invalid"),
  );
  assert.equal((await engine.pruneTasks({ olderThanMs: day })).tasks, 1);
  assert.deepEqual(await ids(engine), [young]);
});

Deno.test("those who watch all tasks are told which are deleted, however", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const worker = await FakeWorker.connect(engine);
  const deleted = await finish(engine, worker);
  const pruned = await finish(engine, worker);
  const stop = new AbortController();
  const gone: string[] = [];
  const seen: string[] = [];
  const watching = (async () => {
    for await (const change of engine.watchChanges(stop.signal)) {
      if ("deletedId" in change) gone.push(change.deletedId);
      else seen.push(change.task.id);
    }
  })();
  watching.catch(() => {}); // Awaited at the end.
  const { id: open } = await engine.submit(spec({ selector: { no: "where" } }));
  await eventually(5_000, () => seen.includes(open));
  await engine.deleteTask(deleted);
  await eventually(5_000, () => gone.length === 1);
  await engine.pruneTasks({ olderThanMs: 0 });
  await eventually(5_000, () => gone.length === 2);
  assert.deepEqual(gone, [deleted, pruned]);
  assert.ok(!seen.includes(deleted));
  stop.abort();
  await watching;
});

Deno.test("what is older than coordinator.retention goes by itself, and nothing else", async () => {
  await using harness = new EngineHarness();
  await harness.restart({ keepMs: 30 * day });
  const { engine, clock } = harness;
  const worker = await FakeWorker.connect(engine);
  await finish(engine, worker);
  clock.turn(29 * day);
  engine.advance();
  const second = await FakeWorker.connect(engine, { instance: "instance-2" });
  const young = await finish(engine, second);
  const { id: queued } = await engine.submit(spec({ selector: { no: "where" } }));
  assert.equal((await ids(engine)).length, 3);
  clock.turn(1.5 * day);
  await retained(harness, async () => (await ids(engine)).length === 2);
  assert.deepEqual((await ids(engine)).toSorted(), [young, queued].toSorted());
  clock.turn(100 * day);
  await retained(harness, async () => (await ids(engine)).length === 1);
  assert.deepEqual(await ids(engine), [queued]);
  assert.deepEqual(files(harness), []);
});

Deno.test("with little room the oldest go first, until there is room, and a day's work stays", async () => {
  await using harness = new EngineHarness();
  const disk = new FakeDisk();
  await harness.restart({ keepMs: 30 * day, disk });
  const { engine, clock } = harness;
  const worker = await FakeWorker.connect(engine);
  const all: string[] = [];
  for (let at = 0; at < 30; at++) all.push(await finish(engine, worker));
  disk.free = 0.05e12;
  clock.turn(day / 2);
  engine.advance();
  await retained(harness, () => Promise.resolve(true));
  assert.equal((await ids(engine)).length, 30);
  clock.turn(day);
  // There is room again as soon as the first have gone.
  const removed = () => engine.stats().removedTasks;
  disk.space = () => ({ free: removed() > 0 ? 0.2e12 : 0.05e12, total: 1e12 });
  await retained(harness, () => Promise.resolve(removed() >= 20));
  for (let at = 0; at < 3; at++) await retained(harness, () => Promise.resolve(true));
  assert.deepEqual((await ids(engine)).toSorted(), all.slice(20));
});

Deno.test("a full disk is cleared of what finished an hour ago, and work goes on", async () => {
  await using harness = new EngineHarness();
  const disk = new FakeDisk();
  await harness.restart({ keepMs: 30 * day, disk });
  const { engine, clock } = harness;
  const worker = await FakeWorker.connect(engine);
  await finish(engine, worker);
  disk.space = () => ({ free: engine.stats().removedTasks > 0 ? 0.2e12 : 0, total: 1e12 });
  clock.turn(1_000);
  engine.advance();
  await assert.rejects(engine.submit(spec()), taskError("exhausted"));
  clock.turn(3_600_000);
  await retained(harness, () => Promise.resolve(engine.trouble() === undefined));
  assert.deepEqual(files(harness), []);
  await engine.submit(spec());
});

Deno.test("the database gives the space of deleted tasks back to the file system", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id } = await engine.submit(spec({ argv: ["x".repeat(500_000)] }));
  for (let at = 0; at < 19; at++) await engine.submit(spec({ argv: ["x".repeat(500_000)] }));
  for (const each of await ids(engine)) await engine.cancelTask(each);
  const size = () => Deno.statSync(join(harness.folder, "data", "tasks.db")).size;
  await harness.restart();
  const before = size();
  assert.ok(before > 9_000_000, `${before}`);
  assert.equal((await harness.engine.pruneTasks({ olderThanMs: 0 })).tasks, 20);
  await assert.rejects(harness.engine.getTask(id), taskError("not_found"));
  for (let at = 0; at < 20; at++) {
    await retained(harness, () => Promise.resolve(true));
  }
  // The last connection moves the write-ahead log into the database.
  await harness.restart();
  assert.ok(size() < before / 4, `${size()} of ${before}`);
});

Deno.test("a task that is retried while it is being removed is either kept whole or gone", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const worker = await FakeWorker.connect(engine);
  for (let at = 0; at < 20; at++) {
    const id = await finish(engine, worker);
    const [retried, deleted] = await Promise.allSettled(
      at % 2 === 0
        ? [engine.retryTask(id), engine.deleteTask(id)]
        : [engine.deleteTask(id), engine.retryTask(id)].toReversed(),
    );
    const [task] = await engine.getTask(id).catch(() => []);
    assert.equal(task === undefined, retried!.status === "rejected");
    if (task === undefined) assert.equal(deleted!.status, "fulfilled");
    else assert.ok(!isFinished(task.state));
    if (task !== undefined) await engine.cancelTask(id);
  }
});
