import assert from "node:assert/strict";
import { join } from "node:path";
import { logFiles } from "../../src/store/files/logs.ts";
import { leaseTimes, limits } from "../../src/tasks/limits.ts";
import type { LogPiece } from "../../src/tasks/service.ts";
import { EngineHarness, FakeWorker, taskError, turn } from "../support/engine.ts";
import { spec } from "../support/spec.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** Reassembles both streams of each attempt; asserts that no byte comes twice. */
class Collected {
  readonly text: Record<string, string> = {};
  readonly #next: Record<string, number> = {};

  add({ attempt, stream, offset, data }: LogPiece): void {
    const key = `${attempt} ${stream}`;
    assert.equal(offset, this.#next[key] ??= offset, `${key} has a gap or a repetition`);
    this.#next[key] = offset + data.length;
    this.text[key] = (this.text[key] ?? "") + new TextDecoder().decode(data);
  }
}

async function collect(pieces: AsyncIterable<LogPiece>, into = new Collected()) {
  for await (const piece of pieces) into.add(piece);
  return into.text;
}

const never = () => new AbortController().signal;

async function oneRunning(harness: EngineHarness, more: Parameters<typeof spec>[0] = {}) {
  const { id } = await harness.engine.submit(spec(more));
  const worker = await FakeWorker.connect(harness.engine);
  const [assignment] = await worker.take();
  return { id, worker, ref: assignment!.ref };
}

Deno.test("logs arrive once and in order, however often they are sent", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id, worker, ref } = await oneRunning(harness);
  const upload = await engine.uploadLog(ref);
  assert.deepEqual(upload.offsets, { stdout: 0, stderr: 0 });
  await upload.append("stdout", 0, bytes("hello "));
  await upload.append("stdout", 0, bytes("hello "));
  await upload.append("stdout", 3, bytes("lo world"));
  await upload.append("stderr", 0, bytes("oops"));
  await assert.rejects(upload.append("stdout", 99, bytes("x")), taskError("invalid", /up to 11/));
  assert.deepEqual(upload.offsets, { stdout: 11, stderr: 4 });
  await assert.rejects(upload.end({ stdout: 12, stderr: 4 }), taskError("invalid"));
  await upload.end({ stdout: 11, stderr: 4 });
  await upload[Symbol.asyncDispose]();
  await upload[Symbol.asyncDispose]();
  await worker.finish(ref, { stdoutBytes: 11, stderrBytes: 4 });
  assert.deepEqual(await collect(engine.readLog({ taskId: id }, never())), {
    "1 stdout": "hello world",
    "1 stderr": "oops",
  });
  const rest = { taskId: id, attempt: 1, stdoutOffset: 6, stderrOffset: 4 };
  assert.deepEqual(await collect(engine.readLog(rest, never())), { "1 stdout": "world" });
  const beyond = { taskId: id, stdoutOffset: 1_000, stderrOffset: 1_000 };
  assert.deepEqual(await collect(engine.readLog(beyond, never())), {});
  await assert.rejects(
    collect(engine.readLog({ taskId: id, attempt: 2 }, never())),
    taskError("not_found"),
  );
  await assert.rejects(engine.uploadLog(ref), taskError("conflict"));
});

Deno.test("an upload continues after a cut connection, and after a restart of the coordinator", async () => {
  await using harness = new EngineHarness();
  const { id, ref } = await oneRunning(harness);
  const first = await harness.engine.uploadLog(ref);
  await first.append("stdout", 0, bytes("abc"));
  // The worker reconnects before the coordinator has noticed the cut.
  const second = await harness.engine.uploadLog(ref);
  assert.deepEqual(second.offsets, { stdout: 3, stderr: 0 });
  await assert.rejects(first.append("stdout", 3, bytes("d")), taskError("conflict"));
  await second.append("stdout", 3, bytes("def"));
  await harness.restart();
  await assert.rejects(second.append("stdout", 6, bytes("x")), taskError("conflict"));
  await FakeWorker.connect(harness.engine, { held: [ref] });
  const third = await harness.engine.uploadLog(ref);
  assert.deepEqual(third.offsets, { stdout: 6, stderr: 0 });
  await third.append("stdout", 6, bytes("ghi"));
  await third.end({ stdout: 9, stderr: 0 });
  await third[Symbol.asyncDispose]();
  assert.deepEqual(await collect(harness.engine.readLog({ taskId: id }, never())), {
    "1 stdout": "abcdefghi",
  });
});

Deno.test("following shows new output and later attempts until the task has finished", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id } = await engine.submit(spec({ retries: 1 }));
  const seen = new Collected();
  const following = collect(engine.readLog({ taskId: id, follow: true }, never()), seen);
  const worker = await FakeWorker.connect(engine);
  for (const attempt of [1, 2]) {
    const [assignment] = await worker.take();
    await using upload = await engine.uploadLog(assignment!.ref);
    for (const [at, text] of ["a", "b", "c"].entries()) {
      await upload.append("stdout", at, bytes(text));
    }
    await upload.append("stderr", 0, bytes(`attempt ${attempt}`));
    await upload.end({ stdout: 3, stderr: 9 });
    await worker.finish(assignment!.ref, { state: attempt === 1 ? "failed" : "succeeded" });
  }
  assert.deepEqual(await following, {
    "1 stdout": "abc",
    "1 stderr": "attempt 1",
    "2 stdout": "abc",
    "2 stderr": "attempt 2",
  });
});

Deno.test("each piece wakes a follower, and its signal ends it", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id, ref } = await oneRunning(harness);
  await using upload = await engine.uploadLog(ref);
  const stop = new AbortController();
  const pieces = engine.readLog({ taskId: id, follow: true }, stop.signal)[Symbol.asyncIterator]();
  for (let at = 0; at < 20; at++) {
    const next = pieces.next();
    await upload.append("stdout", at, bytes("x"));
    assert.equal((await next).value.offset, at);
  }
  const next = pieces.next();
  stop.abort();
  assert.equal((await next).done, true);
});

Deno.test("a follower gets the last bytes also when they and the end come while it reads", async () => {
  await using harness = new EngineHarness();
  const logs = logFiles(join(harness.folder, "logs"));
  let atEnd: (() => Promise<void>) | undefined;
  await harness.restart({
    logs: {
      ...logs,
      async readLog(taskId, attempt, stream) {
        const reader = await logs.readLog(taskId, attempt, stream);
        return reader && {
          async read(offset, buffer) {
            const count = await reader.read(offset, buffer);
            const meanwhile = count === 0 ? atEnd : undefined;
            atEnd = count === 0 ? undefined : atEnd;
            await meanwhile?.();
            return count;
          },
          [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose](),
        };
      },
    },
  });
  const { engine } = harness;
  const { id, worker, ref } = await oneRunning(harness);
  const upload = await engine.uploadLog(ref);
  await upload.append("stdout", 0, bytes("first "));
  await upload[Symbol.asyncDispose]();
  // The follower has read all there is, from the file, and is about to hear so.
  atEnd = async () => {
    await using rest = await engine.uploadLog(ref);
    await rest.append("stdout", 6, bytes("last"));
    await rest.end({ stdout: 10, stderr: 0 });
    await worker.finish(ref, { stdoutBytes: 10 });
  };
  const query = { taskId: id, follow: true };
  const read = await collect(engine.readLog(query, AbortSignal.timeout(60_000)));
  assert.equal(atEnd, undefined);
  assert.deepEqual(read, { "1 stdout": "first last" });
});

Deno.test("a log that is shorter than its result says is read to its end, and following it ends", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id, worker, ref } = await oneRunning(harness);
  {
    await using upload = await engine.uploadLog(ref);
    await upload.append("stdout", 0, bytes("kept"));
  }
  await worker.finish(ref, { stdoutBytes: 1_000, stderrBytes: 7 });
  for (const follow of [false, true]) {
    const read = engine.readLog({ taskId: id, follow }, AbortSignal.timeout(60_000));
    assert.deepEqual(await collect(read), { "1 stdout": "kept" });
  }
});

Deno.test("following one attempt ends with it; not following ends at once", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id } = await engine.submit(spec());
  assert.deepEqual(await collect(engine.readLog({ taskId: id }, never())), {});
  const worker = await FakeWorker.connect(engine);
  const [assignment] = await worker.take();
  const { ref } = assignment!;
  assert.deepEqual(await collect(engine.readLog({ taskId: id }, never())), {});
  const one = collect(engine.readLog({ taskId: id, attempt: 1, follow: true }, never()));
  await worker.finish(ref, { state: "lost" });
  assert.deepEqual(await one, {});
  const all = collect(engine.readLog({ taskId: id, follow: true }, never()));
  await engine.cancelTask(id);
  assert.deepEqual(await all, {});
});

Deno.test("a log is synced to the disk before its end is acknowledged", async () => {
  await using harness = new EngineHarness();
  const logs = logFiles(join(harness.folder, "logs"));
  const done: string[] = [];
  await harness.restart({
    logs: {
      ...logs,
      async openLog(taskId, attempt) {
        const writer = await logs.openLog(taskId, attempt);
        const sync = writer.sync.bind(writer);
        writer.sync = async () => {
          await sync();
          done.push("synced");
        };
        return writer;
      },
    },
  });
  const { ref } = await oneRunning(harness);
  await using upload = await harness.engine.uploadLog(ref);
  await upload.append("stdout", 0, bytes("hello"));
  await upload.end({ stdout: 5, stderr: 0 }).then(() => done.push("acknowledged"));
  assert.deepEqual(done, ["synced", "acknowledged"]);
});

Deno.test("an attempt that lost its lease cannot write any more", async () => {
  await using harness = new EngineHarness();
  const { engine, clock } = harness;
  const { ref } = await oneRunning(harness);
  await using upload = await engine.uploadLog(ref);
  await upload.append("stdout", 0, bytes("before"));
  assert.equal((await engine.getTask(ref.taskId))[0]!.attempts[0]!.stdoutBytes, 6);
  clock.turn(leaseTimes.leaseMs);
  engine.advance();
  await turn();
  assert.equal((await engine.getTask(ref.taskId))[0]!.attempts[0]!.stdoutBytes, 6);
  await assert.rejects(upload.append("stdout", 6, bytes("x")), taskError("conflict"));
  await assert.rejects(upload.end({ stdout: 6, stderr: 0 }), taskError("conflict"));
  await assert.rejects(engine.uploadLog(ref), taskError("conflict"));
  await assert.rejects(engine.uploadLog({ ...ref, fence: 99 }), taskError("conflict"));
});

Deno.test("a large log is read completely, in pieces below the chunk limit", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id, ref } = await oneRunning(harness);
  await using upload = await engine.uploadLog(ref);
  const chunk = new Uint8Array(1024 * 1024).map((_, at) => at * 31 % 251);
  const appends = [];
  for (let at = 0; at < 5; at++) appends.push(upload.append("stdout", at * chunk.length, chunk));
  await Promise.all(appends);
  let total = 0;
  for await (const { offset, data } of engine.readLog({ taskId: id }, never())) {
    assert.equal(offset, total);
    assert.ok(data.length <= chunk.length);
    assert.equal(data[7], chunk[(offset + 7) % chunk.length]);
    total += data.length;
  }
  assert.equal(total, 5 * chunk.length);
});

Deno.test("an attempt that writes nothing makes no file", async () => {
  await using harness = new EngineHarness();
  const { worker, ref } = await oneRunning(harness);
  const upload = await harness.engine.uploadLog(ref);
  await upload.end({ stdout: 0, stderr: 0 });
  await upload[Symbol.asyncDispose]();
  await worker.finish(ref);
  const names = [...Deno.readDirSync(join(harness.folder, "data"))].map(({ name }) => name);
  assert.ok(!names.includes("logs"), String(names));
});

Deno.test("of two uploads of a log at the same time, one continues", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id, ref } = await oneRunning(harness);
  const both = await Promise.all([engine.uploadLog(ref), engine.uploadLog(ref)]);
  const sent = await Promise.allSettled(
    both.map((upload) => upload.append("stdout", 0, bytes("once"))),
  );
  assert.deepEqual(sent.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
  let text = "";
  for await (const { data } of engine.readLog({ taskId: id }, AbortSignal.timeout(60_000))) {
    text += new TextDecoder().decode(data);
  }
  assert.equal(text, "once");
});

Deno.test("only the session that holds the lease may upload", async () => {
  await using harness = new EngineHarness();
  const { engine } = harness;
  const { id, ref } = await oneRunning(harness);
  await FakeWorker.connect(engine, { workerId: "w2", home: "home-of-w2", address: "10.0.0.2:2" });
  const file = { path: "x", size: 1, mode: 0o644 };
  for (const from of ["10.0.0.2:2", "10.0.0.3:3"]) {
    await assert.rejects(engine.served.uploadLog(ref, from), taskError("forbidden"));
    await assert.rejects(engine.served.uploadArtifact(ref, file, from), taskError("forbidden"));
  }
  // The same worker over a new connection: its former one no longer counts.
  await FakeWorker.connect(engine, { held: [ref], address: "127.0.0.1:9" });
  await assert.rejects(engine.uploadLog(ref), taskError("forbidden"));
  await using upload = await engine.served.uploadLog(ref, "127.0.0.1:9");
  await upload.append("stdout", 0, bytes("own"));
  assert.deepEqual(await collect(engine.readLog({ taskId: id }, never())), { "1 stdout": "own" });
});

Deno.test("output beyond the limit is cut with a line that says so, also after a restart", async () => {
  await using harness = new EngineHarness();
  const logLimitBytes = 10;
  await harness.restart({ logLimitBytes });
  const { id, ref } = await oneRunning(harness);
  {
    await using upload = await harness.engine.uploadLog(ref);
    await upload.append("stderr", 0, bytes("err"));
    await upload.append("stdout", 0, bytes("0123456789"));
    await upload.append("stderr", 3, bytes("more"));
    // All of it counts as taken: the worker need not keep it.
    assert.deepEqual(upload.offsets, { stdout: 10, stderr: 7 });
  }
  await harness.restart({ logLimitBytes });
  const worker = await FakeWorker.connect(harness.engine, { held: [ref] });
  await using upload = await harness.engine.uploadLog(ref);
  assert.deepEqual(upload.offsets, { stdout: 10, stderr: 7 });
  await upload.append("stdout", 8, bytes("89abc"));
  await upload.end({ stdout: 13, stderr: 7 });
  assert.equal(await worker.finish(ref, { stdoutBytes: 13, stderrBytes: 7 }), false);
  assert.deepEqual(await collect(harness.engine.readLog({ taskId: id }, never())), {
    "1 stdout": "0123456\n[agent: output cut here: more than 10 B (coordinator.log_limit)]\n",
    "1 stderr": "err",
  });
});

Deno.test("output that comes with the result is stored with it, read as any other, and removed with the task", async () => {
  await using harness = new EngineHarness();
  const { id, worker, ref } = await oneRunning(harness);
  assert.equal(worker.session.inlineBytes, limits.maxInlineBytes);
  const following = collect(harness.engine.readLog({ taskId: id, follow: true }, never()));
  const output = { stdout: bytes("one\ntwo\n"), stderr: bytes("oops") };
  await worker.finish(ref, { stdoutBytes: 8, stderrBytes: 4, output });
  const whole = { "1 stdout": "one\ntwo\n", "1 stderr": "oops" };
  assert.deepEqual(await following, whole);
  await harness.crash();
  const { engine } = harness;
  assert.deepEqual(await collect(engine.readLog({ taskId: id }, never())), whole);
  const rest = { taskId: id, attempt: 1, stdoutOffset: 4, stderrOffset: 4 };
  assert.deepEqual(await collect(engine.readLog(rest, never())), { "1 stdout": "two\n" });
  assert.equal(engine.stats().storedBytes.output, 12);
  await assert.rejects(Deno.stat(join(harness.folder, "data", "logs")), Deno.errors.NotFound);
  await engine.deleteTask(id);
  assert.equal(engine.stats().storedBytes.output, 0);
});

Deno.test("a result whose output is not what it says is refused", async () => {
  await using harness = new EngineHarness();
  const { worker, ref } = await oneRunning(harness);
  const [text, long] = [bytes("abc"), new Uint8Array(limits.maxInlineBytes + 1)];
  for (const [stdout, stdoutBytes] of [[text, 2], [text, 4], [long, long.length]] as const) {
    const output = { stdout, stderr: bytes("") };
    await assert.rejects(worker.finish(ref, { stdoutBytes, output }), taskError("invalid"));
  }
});

Deno.test("no more comes with a result than the coordinator keeps of a log", async () => {
  await using harness = new EngineHarness();
  await harness.restart({ logLimitBytes: 100 });
  const { worker } = await oneRunning(harness);
  assert.equal(worker.session.inlineBytes, 100);
});
