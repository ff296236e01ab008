import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { silentLog } from "../support/silent_log.ts";
import { artifactFiles } from "../../src/store/files/artifacts.ts";
import { openCoordinatorStorage } from "../../src/store/coordinator.ts";
import { leaseTimes, limits } from "../../src/tasks/limits.ts";
import {
  EngineHarness,
  FakeWorker,
  HandClock,
  openTestEngine,
  taskError,
  turn,
} from "../support/engine.ts";
import { spec } from "../support/spec.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const sha256 = (data: Uint8Array) => createHash("sha256").update(data).digest("hex");
const never = () => new AbortController().signal;

async function oneRunning(harness: EngineHarness) {
  const { id } = await harness.engine.submit(spec());
  const worker = await FakeWorker.connect(harness.engine);
  const [assignment] = await worker.take();
  return { id, worker, ref: assignment!.ref };
}

async function contents(harness: EngineHarness, taskId: string, path: string, offset = 0) {
  let text = "";
  const pieces = harness.engine.readArtifact({ taskId, path, offset }, never());
  for await (const piece of pieces) {
    assert.equal(piece.offset, offset + text.length);
    text += new TextDecoder().decode(piece.data);
  }
  return text;
}

Deno.test("an artifact is kept under its path, with its mode and checksum", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id, worker, ref } = await oneRunning(harness);
  const data = bytes("the result");
  // One path is a folder in the other: both are kept.
  for (const path of ["out", "out/host.txt"]) {
    await using upload = await engine.uploadArtifact(ref, { path, size: 10, mode: 0o755 });
    assert.equal(upload.offset, 0);
    await upload.append(0, data.subarray(0, 4));
    assert.deepEqual(
      await engine.listArtifacts(id),
      path === "out" ? [] : [{
        path: "out",
        size: 10,
        mode: 0o755,
        attempt: 1,
        sha256: sha256(data),
      }],
    );
    await upload.append(4, data.subarray(4));
    await upload.end(sha256(data));
  }
  await worker.finish(ref);
  assert.deepEqual((await engine.listArtifacts(id)).map((each) => each.path), [
    "out",
    "out/host.txt",
  ]);
  assert.equal(await contents(harness, id, "out/host.txt"), "the result");
  assert.equal(await contents(harness, id, "out/host.txt", 4), "result");
  await assert.rejects(contents(harness, id, "out/other"), taskError("not_found"));
  await assert.rejects(contents(harness, id, "../../tasks.db"), taskError("not_found"));
  await harness.restart();
  assert.equal(await contents(harness, id, "out"), "the result");
});

Deno.test("an interrupted upload continues at its offset, also after a restart", async () => {
  await using harness = new EngineHarness();
  const { id, ref } = await oneRunning(harness);
  const data = bytes("0123456789");
  const file = { path: "x", size: 10, mode: 0o644 };
  const first = await harness.engine.uploadArtifact(ref, file);
  await first.append(0, data.subarray(0, 3));
  const second = await harness.engine.uploadArtifact(ref, file);
  assert.equal(second.offset, 3);
  await assert.rejects(first.append(3, data.subarray(3)), taskError("conflict"));
  await second.append(2, data.subarray(2, 6));
  await harness.restart();
  await FakeWorker.connect(harness.engine, { held: [ref] });
  const third = await harness.engine.uploadArtifact(ref, file);
  assert.equal(third.offset, 6);
  await assert.rejects(third.append(8, data.subarray(8)), taskError("invalid", /up to 6/));
  await third.append(6, data.subarray(6));
  await third.end(sha256(data));
  await third[Symbol.asyncDispose]();
  assert.equal(await contents(harness, id, "x"), "0123456789");
});

Deno.test("of two uploads of a file at the same time, one continues", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id, ref } = await oneRunning(harness);
  const data = bytes("0123456789");
  const file = { path: "x", size: 10, mode: 0o644 };
  const both = await Promise.all([
    engine.uploadArtifact(ref, file),
    engine.uploadArtifact(ref, file),
  ]);
  const sent = await Promise.allSettled(both.map((upload) => upload.append(0, data)));
  assert.deepEqual(sent.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
  await both[sent.findIndex(({ status }) => status === "fulfilled")]!.end(sha256(data));
  assert.equal(await contents(harness, id, "x"), "0123456789");
});

Deno.test("a file counts once, and adding one does not read all others", async () => {
  const folder = await Deno.makeTempDir({ prefix: "agent-artifacts-" });
  try {
    const { store, ...files } = openCoordinatorStorage(folder);
    let lists = 0;
    const counting = new Proxy(store, {
      get(target, name) {
        if (name === "artifacts") lists++;
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const [clock, log] = [new HandClock(), silentLog];
    await using engine = openTestEngine({
      store: counting,
      ...files,
      clock,
      log,
      commitEveryMs: 0,
    });
    const { id } = await engine.submit(spec());
    const worker = await FakeWorker.connect(engine);
    const { ref } = (await worker.take())[0]!;
    const stored = { size: 0, sha256: sha256(bytes("")), mode: 0o644, attempt: 1 };
    const paths = Array.from({ length: limits.maxArtifactsPerAttempt }, (_, at) => `f${at}`);
    const artifacts = paths.map((path) => ({ path, ...stored }));
    store.commit([{ kind: "artifacts", seq: store.seq(id), artifacts }]);
    const empty = { size: 0, mode: 0o644 };
    await using again = await engine.uploadArtifact(ref, { path: "f7", ...empty });
    await again.end(stored.sha256);
    const further = engine.uploadArtifact(ref, { path: "further", ...empty });
    await assert.rejects(further, taskError("exhausted", /10000 artifacts/));
    for await (const _ of engine.readArtifact({ taskId: id, path: "f7" }, never()));
    assert.equal(lists, 0);
    assert.equal((await engine.listArtifacts(id)).length, paths.length);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a wrong checksum or size is refused, and the file can be sent again", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id, ref } = await oneRunning(harness);
  const file = { path: "x", size: 3, mode: 0o644 };
  {
    await using upload = await engine.uploadArtifact(ref, file);
    await assert.rejects(upload.append(0, bytes("abcd")), taskError("invalid", /longer/));
    await upload.append(0, bytes("ab"));
    await assert.rejects(upload.end(sha256(bytes("ab"))), taskError("invalid", /3 bytes/));
    await upload.append(2, bytes("c"));
    await assert.rejects(upload.end(sha256(bytes("xyz"))), taskError("invalid", /checksum/));
    assert.equal(upload.offset, 0);
  }
  assert.deepEqual(await engine.listArtifacts(id), []);
  {
    await using upload = await engine.uploadArtifact(ref, file);
    await upload.append(0, bytes("xyz"));
    await upload.end(sha256(bytes("xyz")));
  }
  assert.equal(await contents(harness, id, "x"), "xyz");
  // A file smaller than its first upload, and an empty one.
  for (const text of ["z", ""]) {
    const path = `small${text}`;
    const begun = await engine.uploadArtifact(ref, { ...file, path });
    await begun.append(0, bytes("ab"));
    await begun[Symbol.asyncDispose]();
    await using again = await engine.uploadArtifact(ref, { ...file, path, size: text.length });
    assert.equal(again.offset, 0);
    await again.append(0, bytes(text));
    await again.end(sha256(bytes(text)));
    assert.equal(await contents(harness, id, path), text);
  }
});

Deno.test("an artifact is listed when it is on the disk under its name, and not before", async () => {
  await using harness = new EngineHarness();
  const files = artifactFiles(join(harness.folder, "files"));
  let listed: () => Promise<number> = () => Promise.resolve(0);
  const steps: string[] = [];
  await harness.restart({
    artifacts: {
      ...files,
      async openArtifact(taskId, attempt, path) {
        const writer = await files.openArtifact(taskId, attempt, path);
        const finish = writer.finish.bind(writer);
        writer.finish = async () => {
          steps.push(`finishing, ${await listed()} listed`);
          await finish();
          steps.push(`on disk, ${await listed()} listed`);
        };
        return writer;
      },
    },
  });
  const { id, ref } = await oneRunning(harness);
  listed = async () => (await harness.engine.listArtifacts(id)).length;
  await using upload = await harness.engine.uploadArtifact(ref, {
    path: "x",
    size: 1,
    mode: 0o644,
  });
  await upload.append(0, bytes("x"));
  await upload.end(sha256(bytes("x")));
  steps.push(`acknowledged, ${await listed()} listed`);
  assert.deepEqual(steps, ["finishing, 0 listed", "on disk, 0 listed", "acknowledged, 1 listed"]);
});

Deno.test("a path that leads out of the folder is refused", async () => {
  await using harness = new EngineHarness();
  const { ref } = await oneRunning(harness);
  const long = "x".repeat(256);
  const bad = ["", "..", "../x", "a/../b", "a/./b", "a//b", "/etc/passwd", "a/", "C:x", "a\\b"];
  for (const path of [...bad, "a\0b", "\ud800", long, "x/".repeat(3_000) + "x"]) {
    await assert.rejects(
      harness.engine.uploadArtifact(ref, { path, size: 1, mode: 0o644 }),
      taskError("invalid"),
      JSON.stringify(path.slice(0, 20)),
    );
  }
  const facts = [[-1, 0o644], [0.5, 0o644], [NaN, 0o644], [1, 0o100755], [1, -1]] as const;
  for (const [size, mode] of facts) {
    await assert.rejects(
      harness.engine.uploadArtifact(ref, { path: "x", size, mode }),
      taskError("invalid"),
    );
  }
});

Deno.test("an attempt that lost its lease cannot store a file", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const { ref } = await oneRunning(harness);
  const file = { path: "x", size: 1, mode: 0o644 };
  await using upload = await engine.uploadArtifact(ref, file);
  clock.turn(leaseTimes.leaseMs);
  engine.advance();
  await turn();
  await assert.rejects(upload.append(0, bytes("x")), taskError("conflict"));
  await assert.rejects(upload.end(sha256(bytes(""))), taskError("conflict"));
  await assert.rejects(engine.uploadArtifact(ref, file), taskError("conflict"));
});

const smallFile = (path: string, text: string, mode = 0o644) => {
  const data = bytes(text);
  return { path, mode, sha256: sha256(data), data };
};

Deno.test("small files are stored many at a time, and read as any others", async () => {
  await using harness = new EngineHarness();
  const { id, worker, ref } = await oneRunning(harness);
  const files = [smallFile("a/b", "one", 0o755), smallFile("empty", ""), smallFile("c", "three")];
  assert.deepEqual(await harness.engine.storeArtifacts(ref, files), []);
  // The worker has not heard that they were stored.
  assert.deepEqual(await harness.engine.storeArtifacts(ref, files), []);
  await using large = await harness.engine.uploadArtifact(ref, { path: "d", size: 4, mode: 0o600 });
  await large.append(0, bytes("four"));
  await large.end(sha256(bytes("four")));
  await worker.finish(ref);
  await harness.crash();
  const { engine } = harness;
  const listed = await engine.listArtifacts(id);
  assert.deepEqual(listed.map(({ path, size, mode }) => [path, size, mode]), [
    ["a/b", 3, 0o755],
    ["c", 5, 0o644],
    ["d", 4, 0o600],
    ["empty", 0, 0o644],
  ]);
  const text = (data: Uint8Array) => new TextDecoder().decode(data);
  const got = await engine.getArtifacts!(id, 1, ["d", "empty", "a/b"]);
  assert.deepEqual(got.map(text), ["four", "", "one"]);
  for (const [path, offset, wanted] of [["c", 0, "three"], ["c", 2, "ree"], ["empty", 0, ""]]) {
    const query = { taskId: id, path: String(path), offset: Number(offset) };
    let found = "";
    for await (const { data } of engine.readArtifact(query, never())) found += text(data);
    assert.equal(found, wanted);
  }
  assert.equal(engine.stats().storedBytes.output, 12);
  await engine.deleteTask(id);
  assert.equal(engine.stats().storedBytes.output, 0);
});

Deno.test("a small file that is not what it says is refused alone, and a message that is too large as a whole", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id, ref } = await oneRunning(harness);
  const long = "x".repeat(limits.maxSmallFileBytes + 1);
  const files = [
    smallFile("good", "yes"),
    { ...smallFile("damaged", "yes"), data: bytes("no!") },
    smallFile("../out", "yes"),
    smallFile("mode", "yes", 0o4755),
    smallFile("long", long),
  ];
  const refused = await engine.storeArtifacts(ref, files);
  assert.deepEqual(refused.map(({ path }) => path), ["damaged", "../out", "mode", "long"]);
  assert.match(refused[0]!.reason, /checksum/);
  assert.deepEqual((await engine.listArtifacts(id)).map(({ path }) => path), ["good"]);

  const many = Array.from({ length: limits.maxSmallFiles + 1 }, (_, at) => smallFile(`f${at}`, ""));
  await assert.rejects(engine.storeArtifacts(ref, many), taskError("invalid", /at most 250 files/));
  const paths = many.map(() => "good");
  await assert.rejects(engine.getArtifacts!(id, 1, paths), taskError("invalid"));
  await assert.rejects(engine.getArtifacts!(id, 1, ["good", "none"]), taskError("not_found"));
  await using large = await engine.uploadArtifact(ref, {
    path: "l",
    size: long.length,
    mode: 0o600,
  });
  await large.append(0, bytes(long));
  await large.end(sha256(bytes(long)));
  await assert.rejects(engine.getArtifacts!(id, 1, ["l"]), taskError("invalid", /more than 16384/));
  await assert.rejects(
    engine.storeArtifacts({ ...ref, fence: ref.fence + 1 }, files),
    taskError("conflict"),
  );
});
