import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import * as wire from "./gen/agent/v1/agent.ts";
import { MessageWriter } from "./message_writer.ts";

const large = Buffer.from(crypto.getRandomValues(new Uint8Array(60_000)));

Deno.test("messages are encoded as the library encodes them, with bytes of any size", () => {
  for (const data of [Buffer.alloc(0), large.subarray(0, 4095), large.subarray(0, 4096), large]) {
    const offset = 2n ** 40n;
    const log: wire.UploadLogRequest = {
      ref: { taskId: "t", attempt: 2, fence: 3n },
      stream: wire.Stream.STREAM_STDERR,
      offset,
      data,
      end: { stdoutBytes: 1n, stderrBytes: 2n },
    };
    assert.deepEqual(
      wire.UploadLogRequest.encode(log, new MessageWriter()).finish(),
      wire.UploadLogRequest.encode(log, new BinaryWriter()).finish(),
    );
    assert.deepEqual(wire.UploadLogRequest.decode(wire.UploadLogRequest.encode(log).finish()), log);
    const chunk: wire.UploadArtifactRequest = {
      message: { $case: "chunk", value: { offset, data } },
    };
    assert.deepEqual(
      wire.UploadArtifactRequest.encode(chunk, new MessageWriter()).finish(),
      wire.UploadArtifactRequest.encode(chunk, new BinaryWriter()).finish(),
    );
  }
});

Deno.test("a writer can be used again once it has finished, and its result does not share memory", () => {
  const writer = new MessageWriter();
  const first = writer.uint32(10).bytes(large).finish();
  large[0]! ^= 1;
  const second = writer.uint32(10).bytes(large).finish();
  assert.equal(first.length, second.length);
  assert.notDeepEqual(first, second);
});
