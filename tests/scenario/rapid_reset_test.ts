import assert from "node:assert/strict";
import { agent } from "../support/agent.ts";

/** Frame types and flags of RFC 9113, 6. */
const [headers, reset, settings] = [1, 3, 4];
const endHeaders = 4;
const cancel = [0, 0, 0, 8];

function frame(type: number, flags: number, stream: number, payload: number[] = []): number[] {
  const id = [stream >>> 24, stream >> 16 & 255, stream >> 8 & 255, stream & 255];
  return [0, payload.length >> 8, payload.length & 255, type, flags, ...id, ...payload];
}

/** A header as a literal without indexing (RFC 7541, 6.2.2). */
function literal(name: string, value: string): number[] {
  const bytes = (text: string) => [...new TextEncoder().encode(text)];
  return [0, name.length, ...bytes(name), value.length, ...bytes(value)];
}

const call = [
  ...literal(":method", "POST"),
  ...literal(":scheme", "http"),
  ...literal(":path", "/agent.v1.TaskService/GetTask"),
  ...literal(":authority", "x"),
  ...literal("te", "trailers"),
  ...literal("content-type", "application/grpc"),
];

Deno.test("a caller that keeps resetting calls is hung up on, and others are served", async () => {
  await using coordinator = await agent.start("coordinator", [
    ...["--coordinator.port=0", "--coordinator.health-port=0"],
  ]);
  const port = Number(coordinator.address.split(":").at(-1));
  using socket = await Deno.connect({ hostname: "127.0.0.1", port });
  const send = async (bytes: number[]) => {
    for (let at = 0; at < bytes.length;) {
      at += await socket.write(new Uint8Array(bytes.slice(at)));
    }
  };
  let isOver = false;
  const read = (async () => {
    const buffer = new Uint8Array(64 * 1024);
    while (await socket.read(buffer) !== null);
  })().catch(() => {/* A reset connection is over, too. */}).finally(() => isOver = true);
  const preface = [...new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")];
  await send([...preface, ...frame(settings, 0, 0), ...frame(settings, 1, 0)]);
  let sent = 0;
  // 10 calls each 20 ms: slowly enough that each is seen before the next.
  for (let stream = 1; !isOver && sent < 1_000;) {
    const bytes: number[] = [];
    for (let n = 0; n < 10; n++, stream += 2, sent++) {
      bytes.push(...frame(headers!, endHeaders, stream, call), ...frame(reset!, 0, stream, cancel));
    }
    await send(bytes).catch(() => isOver = true);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  // On a busy machine more are on their way when it hangs up; without a limit none would be.
  assert.ok(sent < 1_000, `hung up on after ${sent}`);
  await read;
  const { code, stderr } = await agent.run([
    ...["workers", "list", "--coordinators", coordinator.address],
  ]);
  assert.equal(code, 0, stderr);
});
