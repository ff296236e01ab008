import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { systemClock } from "../../src/base/clock.ts";
import { UserError } from "../../src/base/errors.ts";
import { silentLog } from "../support/silent_log.ts";
import { artifactFiles } from "../../src/store/files/artifacts.ts";
import { logFiles } from "../../src/store/files/logs.ts";
import { openCoordinatorStorage } from "../../src/store/coordinator.ts";
import { openSqliteStore } from "../../src/store/sqlite/store.ts";
import type { Change, TaskStore } from "../../src/coordinator/store.ts";
import type { Assignment } from "../../src/tasks/task.ts";
import {
  FakeWorker,
  HandClock,
  openTestEngine,
  result,
  taskError,
  turn,
} from "../support/engine.ts";
import { smallDisk } from "../support/small_disk.ts";
import { spec } from "../support/spec.ts";
import { temporaryFolder } from "../support/temporary.ts";
import { eventually } from "../support/eventually.ts";

function withFolder(name: string, test: (folder: string) => void | Promise<void>): void {
  Deno.test(name, async () => {
    const folder = await Deno.makeTempDir({ prefix: "agent-store-" });
    try {
      await test(folder);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

function userError(code: string, text: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof UserError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, text);
    return true;
  };
}

function submitted(seq: number): Change {
  const tasks = [{ seq, id: `0000000000000${seq}`, arrayIndex: undefined }];
  return { kind: "submit", tasks, spec: spec(), at: 0, arrayId: undefined, key: undefined };
}

withFolder("a batch that fails leaves nothing of itself", (folder) => {
  using store = openSqliteStore(join(folder, "tasks.db"));
  store.commit([submitted(1)]);
  assert.throws(() => store.commit([submitted(2), { kind: "cancel", seq: 77, reason: "", at: 0 }]));
  assert.throws(() => store.commit([submitted(2), submitted(1)]));
  assert.deepEqual(store.unfinished(0, 9).map(({ id }) => id), ["00000000000001"]);
  assert.equal(store.counts().queued, 1);
  store.commit([submitted(2)]);
  assert.equal(store.counts().queued, 2);
});

withFolder("a start in one batch with its end, and the fences of a batch", (folder) => {
  const path = join(folder, "tasks.db");
  const ref = (seq: number, attempt: number, fence: number) => ({
    ...{ taskId: `0000000000000${seq}`, attempt, fence },
  });
  const assign = (seq: number, attempt: number, fence: number): Change => ({
    ...{ kind: "assign", seq, ref: ref(seq, attempt, fence), workerId: "w", holder: 1, at: 5 },
    granted: undefined,
  });
  const start = (seq: number, attempt: number, fence: number, at: number): Change => ({
    ...{ kind: "start", seq, ref: ref(seq, attempt, fence), at },
  });
  const end = (seq: number, fence: number, startedAt: number | undefined): Change => ({
    ...{ kind: "end", seq, at: 9 },
    result: result(ref(seq, 1, fence), { state: "failed", exitCode: 1, startedAt, finishedAt: 9 }),
    after: {
      ...{ state: "queued", notBefore: undefined, reason: undefined, failures: 1, losses: 0 },
    },
  });
  {
    using store = openSqliteStore(path);
    store.commit([1, 2, 3].map(submitted));
    store.commit([assign(1, 1, 1), assign(2, 1, 2), assign(3, 1, 3)]);
    // Its end says when it started; that of the second does not; the third starts once more.
    store.commit([start(1, 1, 1, 6), end(1, 1, 6)]);
    store.commit([start(2, 1, 2, 7), end(2, 2, undefined)]);
    store.commit([end(3, 3, 6), assign(3, 2, 4), start(3, 2, 4, 8)]);
    const starts = [1, 2, 3].map((seq) =>
      store.task(`0000000000000${seq}`)!.attempts.map(({ startedAt }) => startedAt)
    );
    assert.deepEqual(starts, [[6], [7], [6, 8]]);
    assert.throws(() => store.commit([assign(1, 2, 5), { kind: "retry", seq: 2, from: "lost" }]));
  }
  using store = openSqliteStore(path);
  assert.equal(store.recover().nextFence, 5);
});

withFolder("many changes at once share a few commits", async (folder) => {
  const data = openCoordinatorStorage(folder);
  // As in the coordinator, where a commit waits for more changes.
  await using engine = openTestEngine({ ...data, clock: systemClock, log: silentLog });
  await Promise.all(Array.from({ length: 1_000 }, () => engine.submit(spec())));
  assert.ok(engine.stats().commits <= 10, `${engine.stats().commits} commits`);
  assert.equal(engine.stats().tasks.queued, 1_000);
});

withFolder("only one coordinator uses a folder at a time", (folder) => {
  const path = join(folder, "tasks.db");
  {
    using _first = openSqliteStore(path);
    assert.throws(() => openSqliteStore(path), userError("in_use", /in use by another coord/));
  }
  openSqliteStore(path)[Symbol.dispose]();
});

withFolder("what a newer agent wrote is refused, and so is another program's", (folder) => {
  const path = join(folder, "tasks.db");
  openSqliteStore(path)[Symbol.dispose]();
  {
    const db = new DatabaseSync(path);
    db.exec("PRAGMA user_version = 99");
    db.close();
  }
  assert.throws(() => openSqliteStore(path), userError("failed", /written by a newer agent/));
  const other = join(folder, "other.db");
  const db = new DatabaseSync(other);
  db.exec("PRAGMA user_version = 1; CREATE TABLE theirs (x)");
  db.close();
  assert.throws(() => openSqliteStore(other), userError("failed", /another program/));
});

withFolder("a damaged database is named in the error and left unchanged", (folder) => {
  const path = join(folder, "tasks.db");
  const named = /tasks\.db" is damaged/;
  Deno.writeTextFileSync(path, "this is no database ".repeat(1_000));
  assert.throws(() => openSqliteStore(path), userError("corrupt", named));
  assert.match(Deno.readTextFileSync(path), /^this is no database/);
  Deno.removeSync(path);
  openSqliteStore(path)[Symbol.dispose]();
  const bytes = Deno.readFileSync(path);
  bytes.fill(0xff, 4096);
  Deno.writeFileSync(path, bytes);
  assert.throws(() => {
    using store = openSqliteStore(path);
    store.recover();
  }, userError("corrupt", named));
});

Deno.test({
  name: "no other user can read the data folder, whatever the umask",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    for (const umask of [0o000, 0o022, 0o077]) {
      const before = Deno.umask(umask);
      const folder = `${Deno.makeTempDirSync()}/data`;
      try {
        Deno.chmodSync(join(folder, ".."), 0o700);
        const data = openCoordinatorStorage(folder);
        data.store.commit([submitted(1)]);
        await using log = await data.logs.openLog("00000000000001", 1);
        await log.append("stdout", new Uint8Array(1));
        await using artifact = await data.artifacts.openArtifact("00000000000001", 1, "x");
        await artifact.append(new Uint8Array(1));
        await artifact.finish();
        for (const path of walk(folder)) {
          const { mode, isDirectory } = Deno.statSync(path);
          assert.equal(mode! & 0o777, isDirectory ? 0o700 : 0o600, `${path} at ${umask}`);
        }
        data.store[Symbol.dispose]();
      } finally {
        Deno.umask(before);
        Deno.removeSync(join(folder, ".."), { recursive: true });
      }
    }
  },
});

function* walk(path: string): Generator<string> {
  yield path;
  if (!Deno.lstatSync(path).isDirectory) return;
  for (const { name } of Deno.readDirSync(path)) yield* walk(join(path, name));
}

/** A store with a disk that can be full. */
function fullable(store: TaskStore): TaskStore & { full: boolean; unreadable: boolean } {
  return Object.assign(Object.create(store), {
    full: false,
    unreadable: false,
    commit(this: { full: boolean }, changes: readonly Change[]) {
      if (this.full) throw new UserError("The disk is full", { code: "disk_full" });
      return store.commit(changes);
    },
    recover: () => store.recover(),
    task: (id: string) => store.task(id),
    elements: (id: string) => store.elements(id),
    progress: (id: string) => store.progress(id),
    spec(this: { unreadable: boolean }, id: string) {
      if (this.unreadable) throw new UserError("The disk is broken", { code: "io" });
      return store.spec(id);
    },
    seq: (id: string) => store.seq(id),
    counts: () => store.counts(),
    list: (query: Parameters<TaskStore["list"]>[0]) => store.list(query),
    [Symbol.dispose]: () => store[Symbol.dispose](),
  });
}

withFolder("a full disk refuses what is new, and forgets nothing of what runs", async (folder) => {
  const data = openCoordinatorStorage(folder);
  const store = fullable(data.store);
  const clock = new HandClock();
  await using engine = openTestEngine({ ...data, store, clock, log: silentLog, commitEveryMs: 0 });
  const { id } = await engine.submit(spec());
  const { id: waiting } = await engine.submit(spec({ selector: { other: "yes" } }));
  const worker = await FakeWorker.connect(engine);
  const [assignment] = await worker.take();
  const refused = taskError("exhausted", /disk is full/);

  store.full = true;
  await assert.rejects(engine.submit(spec()), refused);
  assert.match(engine.trouble()!, /disk is full/);
  await assert.rejects(engine.submit(spec(), { array: { first: 0, last: 9 } }), refused);
  await assert.rejects(engine.putState("ns", "k", new Uint8Array()), refused);
  await assert.rejects(engine.cancelTask(waiting), refused);
  // A running task can still be ended: it may be the one that fills the disk.
  const [cancelled] = await engine.cancelTask(id);
  assert.deepEqual([cancelled!.state, cancelled!.cancelRequested], ["running", true]);
  assert.deepEqual(worker.cancelled, [assignment!.ref]);
  await assert.rejects(engine.drainWorker("w1"), refused);
  assert.equal((await engine.listWorkers())[0]!.draining, false);
  const finished = worker.finish(assignment!.ref);
  worker.session.credit(9);
  await worker.session.heartbeat();
  assert.equal(worker.acks.length, 0);

  store.full = false;
  assert.equal(await finished, false);
  assert.equal(engine.trouble(), undefined);
  assert.equal((await engine.getTask(id))[0]!.state, "succeeded");
  assert.equal((await engine.getTask(id))[0]!.cancelRequested, true);
  assert.equal((await engine.getTask(waiting))[0]!.state, "queued");
  assert.equal((await engine.getTask(waiting))[0]!.cancelRequested, false);
  assert.equal((await engine.listTasks({})).tasks.length, 2);
  const { id: next } = await engine.submit(spec());
  await worker.until(() => worker.assigned.at(-1)!.ref.taskId === next);
});

withFolder("an assignment that could not be written is made again", async (folder) => {
  const data = openCoordinatorStorage(folder);
  const store = fullable(data.store);
  const clock = new HandClock();
  await using engine = openTestEngine({ ...data, store, clock, log: silentLog, commitEveryMs: 0 });
  const worker = await FakeWorker.connect(engine);
  const { id } = await engine.submit(spec());
  store.full = true;
  worker.session.credit(1);
  await eventually(5_000, () => engine.trouble() !== undefined);
  assert.equal(worker.assigned.length, 0);
  store.full = false;
  await worker.until(() => worker.assigned.length === 1);
  assert.equal(worker.assigned[0]!.ref.attempt, 1);
  await worker.finish(worker.assigned[0]!.ref);
  assert.equal((await engine.getTask(id))[0]!.attempts.length, 1);
});

withFolder("a task that cannot be read waits until it can be", async (folder) => {
  const data = openCoordinatorStorage(folder);
  const store = fullable(data.store);
  const clock = new HandClock();
  await using engine = openTestEngine({ ...data, store, clock, log: silentLog, commitEveryMs: 0 });
  const { id } = await engine.submit(spec());
  const worker = await FakeWorker.connect(engine);
  await turn();
  store.unreadable = true;
  worker.session.credit(2);
  // Its spec is still in memory, so this one can be assigned.
  const { id: next } = await engine.submit(spec());
  await worker.until(() => worker.assigned.length === 1);
  assert.equal(worker.assigned[0]!.ref.taskId, next);
  store.unreadable = false;
  await worker.until(() => worker.assigned.length === 2);
  assert.equal(worker.assigned[1]!.ref.taskId, id);
});

Deno.test({
  name: "of a write that the disk takes in part, every byte is stored once when it goes on",
  // Needs its own file system.
  ignore: Deno.build.os !== "linux" || Deno.uid() !== 0,
  fn: async () => {
    await using disk = await smallDisk(2 ** 18);
    assert.ok(disk, "mount failed");
    const data = unlike(2 ** 19);
    const files = [
      logFiles(join(disk.path, "logs")),
      artifactFiles(join(disk.path, "files")),
    ] as const;
    const full = userError("disk_full", /is full/);
    await using log = await files[0].openLog("t1.1", 1);
    await assert.rejects(log.append("stdout", data), full);
    assert.ok(log.sizes.stdout > 0, "a part of it was written");
    resize(disk.path, "384k");
    await using artifact = await files[1].openArtifact("t1.1", 1, "x");
    await assert.rejects(artifact.append(data), full);

    resize(disk.path, "4m");
    await log.append("stdout", data.subarray(log.sizes.stdout));
    await artifact.append(data.subarray(artifact.size));
    assert.equal(artifact.sha256(), createHash("sha256").update(data).digest("hex"));
    await artifact.finish();
    for (
      const opened of [
        await files[0].readLog("t1.1", 1, "stdout"),
        await files[1].readArtifact("t1.1", 1, "x"),
      ]
    ) {
      await using reader = opened!;
      const stored = new Uint8Array(2 * data.length);
      const length = await reader.read(0, stored);
      assert.ok(Buffer.from(stored.subarray(0, length)).equals(data), `${length} bytes`);
    }
  },
});

/** Bytes of which no part is like another, so that one that is stored twice shows. */
function unlike(length: number): Uint8Array {
  return new Uint8Array(new Uint32Array(length / 4).map((_, at) => at).buffer);
}

function resize(disk: string, size: string): void {
  const args = ["-o", `remount,size=${size}`, disk];
  const { success, stderr } = new Deno.Command("mount", { args }).outputSync();
  assert.ok(success, new TextDecoder().decode(stderr));
}

Deno.test({
  name: "what was killed on a disk without a free page is opened on it",
  ignore: Deno.build.os !== "linux" || Deno.uid() !== 0,
  fn: async () => {
    await using disk = await smallDisk(2 ** 20);
    assert.ok(disk, "mount failed");
    await using folder = await temporaryFolder();
    {
      using store = openSqliteStore(join(folder.path, "tasks.db"));
      // Of a worker that has gone, which is forgotten at the next start.
      const holder = { id: 1, workerId: "w1", instance: "i", home: undefined, holdMs: 0 };
      const change = { kind: "holder", holder: { ...holder, leaseMs: 0, keepsTaskLeases: true } };
      store.commit([submitted(1), change as Change]);
      // As a process leaves them that is killed.
      for (const name of ["tasks.db", "tasks.db-wal"]) {
        Deno.copyFileSync(join(folder.path, name), join(disk.path, name));
      }
    }
    const filler = Deno.openSync(join(disk.path, "filler"), { create: true, write: true });
    const page = new Uint8Array(4096);
    assert.throws(() => {
      for (;;) filler.writeSync(page);
    }, /No space/);
    filler.close();
    using store = openSqliteStore(join(disk.path, "tasks.db"));
    const { queued, holders } = store.recover();
    assert.deepEqual(Array.from(queued, ({ id }) => id), ["00000000000001"]);
    assert.deepEqual(holders, []);
    assert.throws(() => store.commit([submitted(2)]), userError("disk_full", /full/));
  },
});

Deno.test({
  name: "on a disk that is really full, and has room again, nothing accepted is lost",
  // Needs its own file system.
  ignore: Deno.build.os !== "linux" || Deno.uid() !== 0,
  fn: async () => {
    await using disk = await smallDisk(2 ** 20);
    assert.ok(disk, "mount failed");
    const data = openCoordinatorStorage(join(disk.path, "data"));
    const clock = new HandClock();
    await using engine = openTestEngine({ ...data, clock, log: silentLog, commitEveryMs: 0 });
    const worker = await FakeWorker.connect(engine);
    const { id } = await engine.submit(spec());
    const [{ ref }] = await worker.take() as [Assignment];
    await using log = await engine.uploadLog(ref);
    await using artifact = await engine.uploadArtifact(ref, {
      path: "x",
      size: 2 ** 20,
      mode: 0o644,
    });
    const accepted = [id];
    const filler = spec({ argv: ["x".repeat(10_000)] });
    const full = taskError("exhausted", /full/);
    await assert.rejects(async () => {
      for (;;) accepted.push((await engine.submit(filler)).id);
    }, full);
    const tooMuch = unlike(2 ** 20);
    await assert.rejects(log.append("stdout", 0, tooMuch), full);
    await assert.rejects(artifact.append(0, tooMuch), full);
    await worker.session.heartbeat();
    worker.session.credit(1);

    resize(disk.path, "16m");
    await eventually(5_000, () => {
      clock.turn(1_000);
      return engine.trouble() === undefined;
    });
    await log.append("stdout", log.offsets.stdout, tooMuch.subarray(log.offsets.stdout));
    await log.end({ stdout: 2 ** 20, stderr: 0 });
    await artifact.append(artifact.offset, tooMuch);
    await artifact.end(createHash("sha256").update(tooMuch).digest("hex"));
    const never = new AbortController().signal;
    const output = engine.readLog({ taskId: id }, never);
    const file = engine.readArtifact({ taskId: id, path: "x" }, never);
    for (const [name, pieces] of [["log", output], ["artifact", file]] as const) {
      const stored = Buffer.concat(
        await Array.fromAsync<{ data: Uint8Array }, Uint8Array>(pieces, ({ data }) => data),
      );
      assert.ok(stored.equals(tooMuch), `the ${name} has ${stored.length} bytes`);
    }
    assert.equal(await worker.finish(ref), false);
    const all = await engine.listTasks({ limit: 1_000 });
    assert.deepEqual(all.tasks.map((task) => task.id).reverse(), accepted);
  },
});

Deno.test({
  name: "a database that has to be made on a full disk takes the reserve",
  ignore: Deno.build.os !== "linux" || Deno.uid() !== 0,
  fn: async () => {
    await using small = await smallDisk(16 * 2 ** 20);
    assert.ok(small, "mount failed");
    const data = join(small.path, "data");
    const before = openCoordinatorStorage(data);
    before.disk.restoreReserve();
    before.store[Symbol.dispose]();
    Deno.truncateSync(join(data, "tasks.db"));
    const filler = join(small.path, "filler");
    assert.throws(() => Deno.writeFileSync(filler, new Uint8Array(16 * 2 ** 20)));
    const { store, disk } = openCoordinatorStorage(data);
    assert.equal(disk.hasReserve, false);
    store.commit([submitted(1)]);
    store[Symbol.dispose]();
  },
});
