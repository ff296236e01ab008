import assert from "node:assert/strict";
import { eventually } from "../../tests/support/eventually.ts";
import {
  type FakeCoordinator,
  fakeCoordinator,
  sampleTask,
} from "../../tests/support/fake_coordinator.ts";
import { forward } from "../../tests/support/forwarder.ts";
import { systemClock } from "../base/clock.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import {
  TaskError,
  type TaskErrorCode,
  taskErrorCodes,
  type WorkerHello,
  type WorkerSink,
} from "../tasks/service.ts";
import { type Coordinator, dialCoordinator } from "./client.ts";
import { servePeer } from "./server.ts";

const env = { clock: systemClock, log: silentLog };
const ref = { taskId: "t1", attempt: 1, fence: 1 };
const hello: WorkerHello = {
  workerId: "w1",
  instance: "i1",
  home: undefined,
  version: "0.1.0",
  labels: {},
  slots: 1,
  held: [],
  warnings: [],
  address: "",
  identity: undefined,
};

/** Runs a test against a coordinator that is dialled by way of a forwarder. */
function wired(
  name: string,
  run: (fake: FakeCoordinator, remote: Coordinator, cut: () => void) => Promise<void>,
): void {
  Deno.test(name, async () => {
    const fake = fakeCoordinator();
    const { signal } = new AbortController();
    const mode = { mode: "h2c" } as const;
    await using server = await servePeer(
      { host: "127.0.0.1", port: 0, mode, ...fake, env },
      signal,
    );
    await using between = await forward(server.port);
    await using remote = await dialCoordinator(between.address, mode, env);
    await run(fake, remote, between.cut);
  });
}

function sinkOf(ended: (error: TaskError) => void): WorkerSink {
  const ignore = () => {};
  return {
    assign: ignore,
    cancel: ignore,
    finishedAck: ignore,
    drain: ignore,
    hold: ignore,
    end: ended,
  };
}

const coded = (code: TaskErrorCode) => (error: unknown) =>
  error instanceof TaskError && error.code === code;

wired("every code of the task service arrives as it was meant", async (fake, { tasks }) => {
  const codes = taskErrorCodes.filter((code) => code !== "internal");
  for (const code of codes) {
    fake.tasks.listWorkers = async function* () {
      yield await Promise.reject(new TaskError(code, `It is ${code}, für wahr`));
    };
    await assert.rejects(
      tasks.listWorkers(),
      (error) => coded(code)(error) && (error as Error).message === `It is ${code}, für wahr`,
    );
  }
});

wired("a conflict of revisions brings the current one", async (_, { tasks }) => {
  const value = new Uint8Array([0, 255]);
  assert.equal((await tasks.putState("n", "k", value, 0)).revision, 1);
  assert.deepEqual([...(await tasks.getState("n", "k")).value], [0, 255]);
  await assert.rejects(
    tasks.putState("n", "k", value, 0),
    (error) => coded("conflict")(error) && (error as TaskError).revision === 1,
  );
  assert.deepEqual((await tasks.listState("n", "k")).map(({ key }) => key), ["k"]);
  const stop = new AbortController();
  const watched: unknown[] = [];
  for await (const change of tasks.watchState("n", "", stop.signal)) {
    watched.push("entry" in change ? change.entry.key : change);
    if ("deletedKey" in change) stop.abort();
  }
  assert.deepEqual(watched, ["k", { complete: true }, { deletedKey: "gone" }]);
  assert.equal((await tasks.deleteState("n", "k", 1)).revision, 2);
});

wired("an array of 10,000 large elements arrives whole", async (fake, { tasks }) => {
  for (let index = 0; index < 10_000; index++) {
    fake.added.push({ ...sampleTask(`e${index}`), arrayId: "a1", reason: "r".repeat(1000) });
  }
  const found = await tasks.getTask("a1");
  assert.equal(found.length, 10_000);
  assert.equal(found.at(-1)?.id, "e9999");
});

wired("a session tells of its end once, and why", async (fake, { workers }, cut) => {
  await assert.rejects(
    workers.connect({ ...hello, workerId: "taken" }, sinkOf(() => {})),
    coded("wrong_state"),
  );
  const ends: TaskError[] = [];
  const session = await workers.connect(hello, sinkOf((error) => ends.push(error)));
  await session.heartbeat();
  cut();
  await assert.rejects(session.heartbeat(), coded("unavailable"));
  await eventually(5000, () => ends.length === 1);
  await eventually(5000, () => fake.events.some((event) => (event as string[])[0] === "closed"));

  const again = await workers.connect(hello, sinkOf((error) => ends.push(error)));
  fake.events.length = 0;
  again.closed();
  await eventually(5000, () => fake.events.length === 1);
  assert.deepEqual(fake.events, [["closed", "w1"]]);
  assert.equal(ends.length, 1);
});

wired("a session by times that cannot be kept is not begun", async (fake, { workers }) => {
  for (const [heartbeatMs, leaseMs] of [[0, 15_000], [1_000, 1_000], [1_000, 2 ** 32 - 1]]) {
    fake.times = { heartbeatMs: heartbeatMs!, leaseMs: leaseMs! };
    await assert.rejects(workers.connect(hello, sinkOf(() => {})), coded("invalid"));
  }
});

wired("a log is sent no faster than it is stored", async (fake, { workers }) => {
  const stored = Promise.withResolvers<void>();
  fake.beforeAppend = () => stored.promise;
  await using log = await workers.uploadLog(ref);
  const mebibyte = new Uint8Array(1024 * 1024);
  let sent = 0;
  const sending = (async () => {
    for (; sent < 16; sent++) await log.append("stdout", sent * mebibyte.length, mebibyte);
  })();
  await eventually(5000, () => sent >= 1);
  await systemClock.sleep(300);
  assert.ok(sent <= 2, `${sent} MiB were sent ahead`);
  stored.resolve();
  await sending;
  await log.end({ stdout: 16 * mebibyte.length, stderr: 0 });
});

wired("an upload with a lost lease, or that breaks, says so", async (fake, { workers }, cut) => {
  await assert.rejects(workers.uploadLog({ ...ref, fence: 666 }), coded("conflict"));
  const log = await workers.uploadLog(ref);
  await log.append("stdout", 0, new Uint8Array(10));
  await assert.rejects(log.end({ stdout: 11, stderr: 0 }), coded("invalid"));
  const broken = await workers.uploadLog(ref);
  await eventually(5000, () => fake.events.length === 1);
  cut();
  await assert.rejects(broken.end({ stdout: 0, stderr: 0 }), coded("unavailable"));
  await eventually(5000, () => fake.events.length === 2);
});

wired("an artifact arrives in order and complete", async (fake, { workers, tasks }) => {
  const file = { path: "out/ä.bin", size: 700_000, mode: 0o755 };
  await using upload = await workers.uploadArtifact(ref, file);
  const bytes = crypto.getRandomValues(new Uint8Array(65_536));
  const data = new Uint8Array(file.size).map((_, at) => bytes[at % bytes.length]!);
  await upload.append(0, data);
  await upload.end("0".repeat(64));
  const pieces = fake.received.get("t1 out/ä.bin") ?? [];
  assert.deepEqual(await new Blob(pieces.map((piece) => piece.slice())).bytes(), data);

  const { signal } = new AbortController();
  let size = 0;
  for await (const piece of tasks.readArtifact({ taskId: "t1", path: "x" }, signal)) {
    assert.equal(piece.offset, size);
    size += piece.data.length;
  }
  assert.equal(size, 3 * 1024 * 1024);
});
