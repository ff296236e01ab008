import assert from "node:assert/strict";
import { join } from "node:path";
import { crashPoints, snapshot } from "../../../tests/support/crash_points.ts";
import { exists, makeFolder, stage, stagedName, writeFileAtomic } from "./atomic_file.ts";
import { type FileChange, lockFolder } from "./file_transaction.ts";
import { isUnfinished, journalName, journalText } from "./recovery_journal.ts";
import { setMode } from "./file_permissions.ts";

async function tempFolder() {
  const path = await Deno.makeTempDir();
  return {
    path,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

const text = (path: string, data: string, mode = 0o644): FileChange => ({ path, data, mode });

Deno.test("a file has its mode, and nothing else is left beside it", async () => {
  await using temp = await tempFolder();
  for (const mode of [0o600, 0o644]) {
    const path = join(temp.path, "file");
    const before = () => {
      // Who opens it for an instant could read it ever after.
      const now = exists(stagedName(path)) ? Deno.statSync(stagedName(path)).mode! : 0;
      assert.equal(now & 0o777 & ~mode, 0);
    };
    writeFileAtomic(path, "secret", mode, { faults: { before } });
    assert.equal((await Deno.stat(path)).mode! & 0o777, mode);
  }
  assert.deepEqual(Object.keys(snapshot(temp.path)), ["file"]);
});

Deno.test("a change of several files is whole at any crash", async () => {
  await using temp = await tempFolder();
  const root = join(temp.path, "tls");
  const at = (name: string) => join(root, name);
  const write = async (changes: FileChange[], faults?: { before(step: string): void }) => {
    await using folder = await lockFolder(root, faults === undefined ? {} : { faults });
    folder.commit(changes);
  };
  await write([text(at("crt"), "old"), text(at("key"), "old", 0o600), text(at("gone"), "old")]);
  const before = snapshot(root);
  const points = await crashPoints(root, join(temp.path, "points"), (faults) =>
    write([
      text(at("crt"), "new"),
      text(at("key"), "new", 0o600),
      text(at("ca/ca.crt"), "new"),
      { path: at("gone"), removed: true },
    ], faults));
  const after = snapshot(root);

  const states = new Set<string>();
  for (const { step, folder: crashed } of points) {
    await using _recovered = await lockFolder(crashed);
    const found = snapshot(crashed);
    // A folder that is still empty is no change.
    if (Object.keys(found).includes("ca/") && !("ca/ca.crt" in found)) delete found["ca/"];
    const state = JSON.stringify(found) === JSON.stringify(after) ? "new" : "old";
    if (state === "old") assert.deepEqual(found, before, step);
    states.add(state);
    for (const name of ["crt", "key", "gone"]) {
      await assert.rejects(Deno.lstat(stagedName(join(crashed, name))), Deno.errors.NotFound);
    }
    assert.equal(isUnfinished(crashed), false);
  }
  assert.deepEqual([...states].toSorted(), ["new", "old"]);
  assert.ok(points.length > 15, `only ${points.length} steps`);
});

Deno.test("a change that fails before its commit leaves everything as it was", async () => {
  await using temp = await tempFolder();
  const root = join(temp.path, "tls");
  {
    await using folder = await lockFolder(root);
    folder.commit([text(join(root, "a"), "old"), text(join(root, "b"), "old")]);
    await Deno.mkdir(join(root, "b.d"));
  }
  const before = snapshot(root);
  for (let failing = 0;; failing++) {
    let step = 0;
    const faults = {
      before() {
        if (step++ === failing) throw new Deno.errors.PermissionDenied("for the test");
      },
    };
    const change = async () => {
      await using folder = await lockFolder(root, { faults });
      folder.commit([
        text(join(root, "a"), "new"),
        text(join(root, "new/c"), "new"),
        text(join(root, "b.d"), "a folder is in its place"),
      ]);
    };
    await assert.rejects(change, { code: "file_unwritable" });
    assert.deepEqual(snapshot(root), before);
    if (step <= failing) break;
  }
});

Deno.test("a folder that only the lock has made is gone again", async () => {
  await using temp = await tempFolder();
  const root = join(temp.path, "a/b/tls");
  {
    await using _folder = await lockFolder(root);
    assert.ok((await Deno.stat(root)).isDirectory);
  }
  assert.deepEqual(snapshot(temp.path), {});
});

Deno.test("changes of several holders are made one after the other", async () => {
  await using temp = await tempFolder();
  const root = join(temp.path, "tls");
  const path = join(root, "count");
  await Promise.all(Array.from({ length: 20 }, async () => {
    await using folder = await lockFolder(root);
    const count = Number(await Deno.readTextFile(path).catch(() => "0"));
    folder.commit([text(path, String(count + 1))]);
  }));
  assert.equal(await Deno.readTextFile(path), "20");
});

Deno.test("a lock file that its last holder has just removed is no lock", async () => {
  await using temp = await tempFolder();
  const first = await lockFolder(temp.path);
  // As between two processes: this one has opened the file, the holder removes it and lets go, and a
  // third takes the lock with a file of its own.
  const taken: Promise<AsyncDisposable>[] = [];
  const { prototype } = Deno.FsFile;
  const tryLock = prototype.tryLockSync;
  prototype.tryLockSync = function (exclusive) {
    prototype.tryLockSync = tryLock;
    void first[Symbol.asyncDispose]();
    taken.push(lockFolder(temp.path));
    return tryLock.call(this, exclusive);
  };
  try {
    await assert.rejects(lockFolder(temp.path, { timeoutMs: 100 }), { code: "locked" });
  } finally {
    prototype.tryLockSync = tryLock;
  }
  const third = await taken[0]!;
  await third[Symbol.asyncDispose]();
  await (await lockFolder(temp.path))[Symbol.asyncDispose]();
});

Deno.test("a holder removes its lock file while it still has the lock", async () => {
  await using temp = await tempFolder();
  const folder = await lockFolder(temp.path);
  const path = join(temp.path, ".lock");
  const { prototype } = Deno.FsFile;
  const close = prototype.close;
  const atClose: boolean[] = [];
  // Later it would remove the file of the next holder.
  prototype.close = function () {
    atClose.push(exists(path));
    close.call(this);
  };
  try {
    await folder[Symbol.asyncDispose]();
  } finally {
    prototype.close = close;
  }
  assert.deepEqual(atClose, [false]);
});

Deno.test("a lock that stays taken is an error that says so, a stale one is none", async () => {
  await using temp = await tempFolder();
  let waited = 0;
  {
    await using _holder = await lockFolder(temp.path);
    const options = { timeoutMs: 4_000, waiting: () => waited++ };
    await assert.rejects(lockFolder(temp.path, options), { code: "locked" });
  }
  assert.equal(waited, 1);
  await Deno.writeTextFile(join(temp.path, ".lock"), "left by a process that is dead");
  await using _folder = await lockFolder(temp.path);
});

Deno.test("what is no regular file is never replaced", async () => {
  await using temp = await tempFolder();
  assert.throws(() => writeFileAtomic(temp.path, "x", 0o644), /a folder is in its place/);
  assert.throws(() => writeFileAtomic("/dev/null", "x", 0o644), /not a regular file/);
  assert.throws(
    () => writeFileAtomic(join(temp.path, "absent/file"), "x", 0o644),
    /its folder does not exist/,
  );
  const link = join(temp.path, "link");
  const target = join(temp.path, "target");
  await Deno.writeTextFile(target, "kept");
  await Deno.symlink(target, link);
  writeFileAtomic(link, "new", 0o600);
  assert.equal(await Deno.readTextFile(target), "kept");
  assert.equal((await Deno.lstat(link)).isFile, true);
});

Deno.test("removing a folder is finished after a crash, and links are not followed", async () => {
  await using temp = await tempFolder();
  const root = join(temp.path, "tls");
  const outside = join(temp.path, "outside");
  await Deno.mkdir(outside);
  await Deno.writeTextFile(join(outside, "file"), "kept");
  {
    await using folder = await lockFolder(root);
    folder.commit([text(join(root, "a"), "1"), text(join(root, "ca/b"), "1")]);
  }
  const points = await crashPoints(root, join(temp.path, "points"), async (faults) => {
    await using folder = await lockFolder(root, { faults });
    folder.removeAll();
  });
  await assert.rejects(Deno.lstat(root), Deno.errors.NotFound);
  let finished = 0;
  for (const { folder: crashed } of points) {
    await (await lockFolder(crashed))[Symbol.asyncDispose]();
    if (await Deno.lstat(crashed).then(() => false, () => true)) finished++;
    else assert.deepEqual(Object.keys(snapshot(crashed)), ["a", "ca/", "ca/b"]);
  }
  assert.ok(finished > 2);

  await Deno.mkdir(join(root, "ca"), { recursive: true });
  await Deno.symlink(outside, join(root, "ca", "link"));
  {
    await using folder = await lockFolder(root);
    folder.removeAll();
  }
  assert.equal(await Deno.readTextFile(join(outside, "file")), "kept");
});

Deno.test({
  name: "what is put in the place of a new file or folder keeps its own mode",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using temp = await tempFolder();
    const at = (name: string) => join(temp.path, name);
    const swapping = (path: string, target: string) => ({
      before(step: string) {
        if (step !== `set permissions of ${path}` || exists(`${path}.away`)) return;
        Deno.renameSync(path, `${path}.away`);
        Deno.symlinkSync(target, path);
      },
    });
    await Deno.writeTextFile(at("theirs"), "x", { mode: 0o644 });
    const faults = swapping(stagedName(at("file")), at("theirs"));
    stage({ path: at("file"), data: "secret", mode: 0o600 }, { faults });
    assert.equal((await Deno.stat(at("theirs"))).mode! & 0o777, 0o644);
    assert.equal(await Deno.readTextFile(at("theirs")), "x");

    await Deno.mkdir(at("folder"), { mode: 0o755 });
    makeFolder(at("new"), { faults: swapping(at("new"), at("folder")) });
    assert.equal((await Deno.stat(at("folder"))).mode! & 0o777, 0o755);
    assert.equal((await Deno.lstat(at("new"))).isDirectory, true);

    await Deno.symlink(at("folder"), at("link"));
    assert.throws(() => setMode(at("link"), 0o700), Deno.errors.NotFound);
  },
});

Deno.test("a journal is obeyed only within its folder, and only from this user or root", async () => {
  await using temp = await tempFolder();
  const root = join(temp.path, "tls");
  const journal = join(root, journalName);
  await Deno.mkdir(join(root, "ca"), { recursive: true });
  await Deno.writeTextFile(join(temp.path, "victim"), "kept");
  await Deno.writeTextFile(join(temp.path, ".victim.new"), "planted");
  const orders = ["../victim", join(temp.path, "victim"), "ca/../../victim", "..", ".", ""]
    .flatMap((path) => [true, false].map((removed) => ({ path, removed })));
  for (const order of orders) {
    await Deno.writeTextFile(journal, JSON.stringify({ version: 1, changes: [order] }));
    await assert.rejects(lockFolder(root), { code: "unknown_journal" }, order.path);
    assert.equal(await Deno.readTextFile(join(temp.path, "victim")), "kept");
  }
  await Deno.remove(journal);
  await Deno.writeTextFile(join(root, "a"), "kept");
  const elsewhere = join(temp.path, "journal");
  await Deno.writeTextFile(elsewhere, journalText([{ path: "a", removed: true }]));
  await Deno.symlink(elsewhere, journal);
  await assert.rejects(lockFolder(root), { code: "unknown_journal" });
  await Deno.remove(journal);
  await Deno.rename(elsewhere, journal);
  if (Deno.uid() === 0) {
    await Deno.chown(journal, 65534, 65534);
    await assert.rejects(lockFolder(root), { code: "unknown_journal", message: /user 65534/ });
    await Deno.chown(journal, 0, 0);
  }
  assert.equal(await Deno.readTextFile(join(root, "a")), "kept");
  await (await lockFolder(root))[Symbol.asyncDispose]();
  assert.equal(exists(join(root, "a")), false);
});

Deno.test("a file outside of the folder changes after the folder, or not at all", async () => {
  await using temp = await tempFolder();
  const root = join(temp.path, "tls");
  const outside = join(temp.path, "serial");
  await Deno.writeTextFile(outside, "old");
  const write = async (faults: { before(step: string): void }) => {
    await using folder = await lockFolder(root, { faults });
    folder.commit([text(join(root, "a"), "new"), text(outside, "new")]);
  };
  const failAt = (wanted: RegExp) => ({
    before(step: string) {
      if (wanted.test(step)) throw new Error("for the test");
    },
  });
  await assert.rejects(write(failAt(/^sync .*serial/)), { code: "file_unwritable" });
  assert.deepEqual([exists(join(root, "a")), await Deno.readTextFile(outside)], [false, "old"]);
  await write(failAt(/^never$/));
  assert.deepEqual([exists(join(root, "a")), await Deno.readTextFile(outside)], [true, "new"]);
  assert.deepEqual(Object.keys(snapshot(temp.path)), ["serial", "tls/", "tls/a"]);
  {
    await using folder = await lockFolder(root);
    folder.commit([{ path: outside, removed: true }]);
  }
  assert.deepEqual(Object.keys(snapshot(temp.path)), ["tls/", "tls/a"]);
});

Deno.test("a file with the wanted content and other permissions is written again", async () => {
  await using temp = await tempFolder();
  const path = join(temp.path, "key");
  await Deno.writeTextFile(path, "secret", { mode: 0o644 });
  await using folder = await lockFolder(temp.path);
  folder.commit([text(path, "secret", 0o600)]);
  assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
  const before = (await Deno.stat(path)).ino;
  folder.commit([text(path, "secret", 0o600)]);
  assert.equal((await Deno.stat(path)).ino, before, "one that is as wanted stays");
});

Deno.test("what a change that never happened has left is swept, one folder down as well", async () => {
  await using temp = await tempFolder();
  await Deno.mkdir(join(temp.path, "ca"));
  const left = [".a.new", "ca/.ca.key.new"];
  const kept = ["a.new", "ca/ca.key.new", "ca/.hidden"];
  for (const name of [...left, ...kept]) await Deno.writeTextFile(join(temp.path, name), "x");
  await (await lockFolder(temp.path))[Symbol.asyncDispose]();
  for (const name of left) assert.equal(exists(join(temp.path, name)), false, name);
  for (const name of kept) assert.equal(exists(join(temp.path, name)), true, name);
});
