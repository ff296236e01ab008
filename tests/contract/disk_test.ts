import assert from "node:assert/strict";
import type { DataDisk } from "../../src/coordinator/disk_space.ts";
import { UserError } from "../../src/base/errors.ts";
import type { TaskStore } from "../../src/coordinator/store.ts";
import { EngineHarness, FakeWorker, taskError, turn } from "../support/engine.ts";
import { spec } from "../support/spec.ts";

/** A disk whose free space a test says; the database finds no room while nothing is free. */
class FakeDisk implements DataDisk {
  hasReserve = true;
  readonly reserveBytes = 1_000_000;
  space = () => ({ free: this.free, total: this.total });
  constructor(readonly total = 1e12, public free = total) {}
  giveUpReserve() {
    this.hasReserve = false;
    this.free += this.reserveBytes;
  }
  restoreReserve() {
    if (this.hasReserve || this.free < 4 * this.reserveBytes) return;
    this.hasReserve = true;
    this.free -= this.reserveBytes;
  }
}

/** An engine whose store writes only while the disk has room. */
async function onDisk(harness: EngineHarness, disk = new FakeDisk()) {
  let inner: TaskStore;
  const limited = (store: TaskStore): TaskStore => {
    inner = store;
    const commit: TaskStore["commit"] = (changes) => {
      if (disk.free <= 0) throw new UserError("The disk is full", { code: "disk_full" });
      return inner.commit(changes);
    };
    return new Proxy(store, {
      get: (target, name) => {
        if (name === "commit") return commit;
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  };
  await harness.restart({ disk }, limited);
  const { engine } = harness;
  const { id } = await engine.submit(spec());
  const worker = await FakeWorker.connect(engine);
  const [assignment] = await worker.take();
  const { ref } = assignment!;
  /** Time in which the disk is looked at again. */
  const later = () => {
    harness.clock.turn(1_000);
    engine.advance();
  };
  return { engine, disk, id, worker, ref, later };
}

Deno.test("output and new tasks stop before the disk is full, and go on when it is not", async () => {
  await using harness = new EngineHarness();
  const { engine, disk, id, worker, ref, later } = await onDisk(harness);
  await using log = await engine.uploadLog(ref);
  await log.append("stdout", 0, new Uint8Array(10));
  disk.free = 256 * 1024 * 1024 + 5;
  later();
  assert.equal(engine.trouble(), undefined);
  await assert.rejects(log.append("stdout", 10, new Uint8Array(10)), taskError("exhausted"));
  disk.free -= 5;
  later();
  // What fits is kept: the worker sends the rest again.
  assert.deepEqual(log.offsets, { stdout: 15, stderr: 0 });
  assert.match(engine.trouble()!, /disk of its data folder is full/);
  await assert.rejects(engine.submit(spec()), taskError("exhausted"));
  await assert.rejects(engine.putState("ns", "k", new Uint8Array(1)), taskError("exhausted"));
  await assert.rejects(async () => {
    await using file = await engine.uploadArtifact(ref, { path: "x", size: 9, mode: 0o644 });
    await file.append(0, new Uint8Array(9));
  }, taskError("exhausted"));
  disk.free = 1e12;
  later();
  assert.equal(engine.trouble(), undefined);
  await using again = await engine.uploadLog(ref);
  await again.append("stdout", 15, new Uint8Array(5));
  await again.end({ stdout: 20, stderr: 0 });
  assert.equal(await worker.finish(ref, { stdoutBytes: 20 }), false);
  assert.equal((await engine.getTask(id))[0]!.state, "succeeded");
});

Deno.test("a task that filled the disk can be cancelled, and its end is stored in the reserve", async () => {
  await using harness = new EngineHarness();
  const { engine, disk, id, worker, ref, later } = await onDisk(harness);
  disk.free = 0;
  later();
  await using log = await engine.uploadLog(ref);
  await assert.rejects(log.append("stdout", 0, new Uint8Array(9)), taskError("exhausted"));
  const [cancelled] = await engine.cancelTask(id);
  assert.equal(cancelled!.cancelRequested, true);
  assert.deepEqual(worker.cancelled, [ref]);
  assert.equal(disk.hasReserve, false, "the request found no other room");
  // Its last output is not waited for.
  await log.append("stdout", 0, new Uint8Array(9));
  await log.end({ stdout: 9, stderr: 0 });
  assert.equal(await worker.finish(ref, { state: "cancelled", stdoutBytes: 9 }), false);
  assert.equal((await engine.getTask(id))[0]!.state, "cancelled");
  assert.match(engine.trouble()!, /full/, "what the reserve gave is not for new tasks");
  disk.free = 1e12;
  later();
  await turn();
  assert.equal(disk.hasReserve, true);
  assert.equal(engine.trouble(), undefined);
});

Deno.test("on a small disk nothing new takes the room that the reserve is to have again", async () => {
  await using harness = new EngineHarness();
  const small = new FakeDisk(32e6);
  const { engine, disk, id, later } = await onDisk(harness, small);
  disk.free = 0;
  later();
  await engine.cancelTask(id);
  assert.equal(disk.hasReserve, false);
  // More than has to stay free beside a reserve, and less than one needs to be made again.
  disk.free = 900_000;
  later();
  assert.match(engine.trouble()!, /full/);
  await assert.rejects(engine.submit(spec()), taskError("exhausted"));
  disk.free = 5_000_000;
  later();
  await turn();
  assert.equal(disk.hasReserve, true);
  assert.equal(engine.trouble(), undefined);
});
