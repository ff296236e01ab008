import { Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { promisify } from "node:util";
import { eventually } from "../../../tests/support/eventually.ts";
import { silentLog } from "../../../tests/support/silent_log.ts";
import { systemClock } from "../../base/clock.ts";
import { prepareHttp2 } from "../../deno/http2_sessions.ts";
import { dialCoordinator } from "../client.ts";
import * as wire from "../gen/agent/v1/agent.ts";
import { protocolVersion } from "../protocol.ts";
import { openChannel } from "./channel.ts";
import type { Loaded } from "../../tls/credentials.ts";
import { openUpload } from "./upload.ts";

type Session = ServerDuplexStream<wire.SessionRequest, wire.SessionResponse>;
type Log = ServerDuplexStream<wire.UploadLogRequest, wire.UploadLogResponse>;

async function listening(server: Server): Promise<string> {
  const port = await promisify(server.bindAsync.bind(server))(
    "127.0.0.1:0",
    ServerCredentials.createInsecure(),
  );
  return `127.0.0.1:${port}`;
}

/** A coordinator by others, which takes small chunks, and acknowledges what it gets together together. */
async function frugalCoordinator(maxChunkBytes: number, stored = 0n, takesBatches = false) {
  const received: Buffer[] = [];
  const finished: string[][] = [];
  const acknowledge = (call: Session, results: wire.Finished[]) => {
    finished.push(results.map(({ ref }) => ref!.taskId));
    const acks = results.map(({ ref }) => ({ ref, superseded: false }));
    call.write({ message: { $case: "finishedAckBatch", value: { acks } } });
  };
  const server = new Server();
  const { session, uploadLog } = wire.WorkerServiceService;
  server.addService({ session, uploadLog }, {
    session(call: Session) {
      call.on("data", ({ message }: wire.SessionRequest) => {
        if (message?.$case === "finished") return acknowledge(call, [message.value]);
        if (message?.$case === "finishedBatch") return acknowledge(call, message.value.finished);
        if (message?.$case !== "hello") return;
        const value = {
          ...{ protocol: protocolVersion, heartbeatMs: 1_000, leaseMs: 15_000, maxChunkBytes },
          ...{ lost: [], draining: false, takesBatches, inlineBytes: 0, smallFileBytes: 0 },
        };
        call.write({ message: { $case: "welcome", value } });
      });
      call.on("end", () => call.end());
    },
    uploadLog(call: Log) {
      let bytes = stored;
      call.on("data", ({ data, end }: wire.UploadLogRequest) => {
        if (data.length > 0) received.push(data);
        bytes += BigInt(data.length);
        // One that has a part already stores nothing more.
        if (stored > 0n && data.length > 0) return;
        call.write({ stdoutOffset: bytes, stderrOffset: 0n, complete: end !== undefined });
      });
      // A busy coordinator takes its time.
      call.on("end", () => setTimeout(() => call.end(), 20));
    },
  });
  const address = await listening(server);
  return {
    address,
    received,
    finished,
    [Symbol.dispose]: () => server.forceShutdown(),
  };
}

const hello = {
  ...{ workerId: "w1", instance: "1234567890", home: undefined, version: "1", warnings: [] },
  ...{ labels: {}, slots: 1, address: "", identity: undefined, held: [] },
};
const nothing = () => {};

Deno.test("results of one turn share a message where the coordinator takes that", async () => {
  for (const takesBatches of [true, false]) {
    using coordinator = await frugalCoordinator(1_000, 0n, takesBatches);
    const env = { clock: systemClock, log: silentLog };
    await using dialled = await dialCoordinator(coordinator.address, { mode: "h2c" }, env);
    const acknowledged: string[] = [];
    const session = await dialled.workers.connect(hello, {
      ...{ assign: nothing, cancel: nothing, drain: nothing, hold: nothing, end: nothing },
      finishedAck: ({ taskId }) => acknowledged.push(taskId),
    });
    const finish = (...ids: string[]) => {
      for (const taskId of ids) {
        session.finished({
          ...{ ref: { taskId, attempt: 1, fence: 1 }, state: "succeeded", exitCode: 0 },
          ...{ signal: undefined, reason: undefined, startedAt: 1, finishedAt: 2 },
          ...{ stdoutBytes: 0, stderrBytes: 0 },
        });
      }
    };
    finish("a", "b");
    session.credit(1);
    finish("c");
    await eventually(10_000, () => acknowledged.length === 3);
    finish("d");
    session.closed();
    await eventually(10_000, () => coordinator.finished.flat().length === 4);
    const batches = takesBatches ? [["a", "b"], ["c"], ["d"]] : [["a"], ["b"], ["c"], ["d"]];
    assert.deepEqual(coordinator.finished, batches);
    assert.deepEqual(acknowledged.slice(0, 3), ["a", "b", "c"]);
  }
});

Deno.test("uploads keep to what the coordinator takes", async () => {
  using coordinator = await frugalCoordinator(1_000);
  const env = { clock: systemClock, log: silentLog };
  await using dialled = await dialCoordinator(coordinator.address, { mode: "h2c" }, env);
  const session = await dialled.workers.connect(hello, {
    ...{ assign: nothing, cancel: nothing, finishedAck: nothing },
    ...{ drain: nothing, hold: nothing, end: nothing },
  });
  let told = 0;
  const ref = { taskId: "t", attempt: 1, fence: 1 };
  await using log = await dialled.workers.uploadLog(ref, () => told++);
  const before = told;
  const data = crypto.getRandomValues(new Uint8Array(4_500));
  await log.append("stdout", 0, data);
  await log.end({ stdout: data.length, stderr: 0 });
  assert.deepEqual(coordinator.received.map(({ length }) => length), [1000, 1000, 1000, 1000, 500]);
  assert.deepEqual(new Uint8Array(Buffer.concat(coordinator.received)), data);
  assert.ok(told > before, "the caller hears of what was stored");
  session.closed();
});

Deno.test("complete uploads are not reset, for which a coordinator would hang up", async () => {
  prepareHttp2();
  using coordinator = await frugalCoordinator(1_000);
  const env = { clock: systemClock, log: silentLog };
  await using dialled = await dialCoordinator(coordinator.address, { mode: "h2c" }, env);
  const upload = async () => {
    const ref = { taskId: "t1", attempt: 1, fence: 1 };
    await using log = await dialled.workers.uploadLog(ref);
    await log.append("stdout", 0, new Uint8Array(10));
    await log.end({ stdout: 10, stderr: 0 });
  };
  // More than it takes of resets, at once and in the time that this may last.
  for (let n = 0; n < 1_000; n += 100) {
    await Promise.all(Array.from({ length: 100 }, upload));
  }
});

Deno.test("an upload that goes on waits for acknowledgements like a new one", async () => {
  const stored = 10 * 1024 * 1024;
  using coordinator = await frugalCoordinator(1_000_000, BigInt(stored));
  const env = { clock: systemClock, log: silentLog };
  await using dialled = await dialCoordinator(coordinator.address, { mode: "h2c" }, env);
  await using log = await dialled.workers.uploadLog({ taskId: "t", attempt: 1, fence: 1 });
  assert.deepEqual(log.offsets, { stdout: stored, stderr: 0 });
  const piece = new Uint8Array(128 * 1024);
  let sent = 0;
  const sending = (async () => {
    for (; sent < 8 * 1024 * 1024; sent += piece.length) {
      await log.append("stdout", stored + sent, piece);
    }
  })();
  sending.catch(() => {/* It waits until the upload is closed. */});
  const arrived = () => coordinator.received.reduce((sum, { length }) => sum + length, 0);
  // 2 MiB may be under way.
  await eventually(10_000, () => arrived() >= 2 * 1024 * 1024 - piece.length);
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.ok(sent <= 2 * 1024 * 1024, `${sent} bytes were sent without an acknowledgement`);
});

Deno.test("an upload that gets no answer fails, so that the next can begin", async () => {
  const server = new Server();
  const { uploadLog } = wire.WorkerServiceService;
  server.addService({ uploadLog }, { uploadLog() {/* It never answers. */} });
  const address = await listening(server);
  const dialled = openChannel(address, { mode: "h2c" }, () => ({}) as Loaded, systemClock);
  const upload = await openUpload(dialled, uploadLog, () => 0, 100);
  await assert.rejects(upload.answered("first"), /answered no upload for 0.1 s/);
  await assert.rejects(upload.answered("complete"), { code: "unavailable" });
  dialled.close();
  server.forceShutdown();
});
