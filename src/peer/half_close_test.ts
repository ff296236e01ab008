import { status } from "@grpc/grpc-js";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { fakeCoordinator } from "../../tests/support/fake_coordinator.ts";
import { systemClock } from "../base/clock.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import { grpcClient } from "../../tests/support/grpc_client.ts";
import { Stream, TaskServiceService, WorkerServiceService } from "./gen/agent/v1/agent.ts";
import { prepareHttp2 } from "../deno/http2_sessions.ts";
import { servePeer } from "./server.ts";

/** What a plain gRPC client sees of a call: it says all that it has to say, then listens. */
function ending<Response>(call: {
  on(event: "data", listener: (response: Response) => void): unknown;
  on(event: "status", listener: (end: { code: status }) => void): unknown;
  on(event: "error", listener: () => void): unknown;
  end(): void;
}): Promise<{ code: status; responses: Response[] }> {
  const responses: Response[] = [];
  return new Promise((resolve) => {
    call.on("data", (response) => responses.push(response));
    call.on("error", () => {/* The status says the same. */});
    call.on("status", ({ code }) => resolve({ code, responses }));
    call.end();
  });
}

Deno.test("a caller that ends its side gets its answers and the status", async () => {
  prepareHttp2();
  const { signal } = new AbortController();
  await using server = await servePeer({
    host: "127.0.0.1",
    port: 0,
    mode: { mode: "h2c" },
    ...fakeCoordinator(),
    env: { clock: systemClock, log: silentLog },
  }, signal);
  const ref = { taskId: "t1", attempt: 1, fence: 1n };
  const data = Buffer.from("hello");
  const workers = grpcClient(WorkerServiceService, server.address);
  const tasks = grpcClient(TaskServiceService, server.address);
  try {
    const upload = workers.uploadLog({ deadline: Date.now() + 10_000 });
    upload.write({ ref, stream: Stream.STREAM_STDOUT, offset: 0n, data, end: undefined });
    upload.write({
      ref: undefined,
      stream: Stream.STREAM_UNSPECIFIED,
      offset: 0n,
      data: Buffer.alloc(0),
      end: { stdoutBytes: 5n, stderrBytes: 0n },
    });
    const uploaded = await ending(upload);
    assert.equal(uploaded.code, status.OK);
    assert(uploaded.responses.at(-1)?.complete);

    const request = {
      taskId: "t1",
      attempt: 0,
      follow: false,
      stdoutOffset: 0n,
      stderrOffset: 0n,
    };
    for (const window of [undefined, { bytes: 1024n, read: 0n }]) {
      const read = tasks.readLog({ deadline: Date.now() + 10_000 });
      read.write({ ...request, window });
      const log = await ending(read);
      assert.equal(log.code, status.OK);
      assert.equal(Buffer.concat(log.responses.map((piece) => piece.data)).toString(), "hello");
    }

    const unfinished = workers.uploadLog({ deadline: Date.now() + 10_000 });
    unfinished.write({ ref, stream: Stream.STREAM_STDOUT, offset: 0n, data, end: undefined });
    assert.equal((await ending(unfinished)).code, status.OK);
  } finally {
    workers.close();
    tasks.close();
  }
});
