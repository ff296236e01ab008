import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import http2, { type ClientHttp2Session } from "node:http2";
import { fakeCoordinator } from "../../tests/support/fake_coordinator.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import { eventually, settled } from "../../tests/support/eventually.ts";
import { systemClock } from "../base/clock.ts";
import { prepareHttp2 } from "../deno/http2_sessions.ts";
import { unreadLimits } from "../deno/http2_writers.ts";
import { dialCoordinator } from "./client.ts";
import { ReadLogRequest } from "./gen/agent/v1/agent.ts";
import { servePeer } from "./server.ts";

/** As it is before our own windows are set. */
const plainConnect = http2.connect;

const chunkBytes = 256 * 1024;

/** A coordinator whose logs do not end, and callers that ask for them and read nothing. */
async function unreadLogs(bytes = chunkBytes) {
  const chunk = new Uint8Array(bytes);
  prepareHttp2();
  let given = 0;
  const coordinator = fakeCoordinator();
  coordinator.tasks.readLog = async function* (_query, signal) {
    for (let offset = 0; !signal.aborted; offset += chunk.length) {
      given += chunk.length;
      yield { attempt: 1, stream: "stdout" as const, offset, data: chunk };
      // As from a disk: not before other events.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  };
  const server = await servePeer({
    ...{ host: "127.0.0.1", port: 0, mode: { mode: "h2c" }, ...coordinator },
    env: { clock: systemClock, log: { ...silentLog, warn: (_, facts) => warnings.push(facts) } },
  }, new AbortController().signal);
  const warnings: (Record<string, unknown> | undefined)[] = [];
  const sessions: ClientHttp2Session[] = [];
  const message = ReadLogRequest.encode({
    ...{ taskId: "t1", attempt: 0, follow: false, stdoutOffset: 0n, stderrOffset: 0n },
    window: undefined,
  }).finish();
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return {
    address: server.address,
    given: () => given,
    warnings,
    open: () => sessions.filter((session) => !session.closed && !session.destroyed).length,
    /** Opens a connection with that many streams. */
    ask(streams: number) {
      const session = plainConnect(`http://${server.address}`).on("error", () => {});
      sessions.push(session);
      for (let n = 0; n < streams; n++) {
        const call = session.request({
          ...{ ":method": "POST", ":path": "/agent.v1.TaskService/ReadLog", te: "trailers" },
          "content-type": "application/grpc",
        });
        call.on("error", () => {/* It is cut off at the end. */}).pause();
        call.write(Buffer.concat([head, message]));
      }
    },
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      await server[Symbol.asyncDispose]();
    },
  };
}

Deno.test("each unread stream costs no more than the messages that are being written", async () => {
  await using t = await unreadLogs();
  const streams = 100;
  t.ask(streams);
  await eventually(5_000, () => t.given() > 0);
  const given = await settled(t.given);
  assert.ok(given <= streams * 3 * chunkBytes, `${given} bytes were given`);
  assert.equal(t.open(), 1);
});

Deno.test("a connection with too much unread is closed", async () => {
  // A client of Deno opens at most 200 streams in a connection.
  const [streams, bytes] = [180, 1024 * 1024];
  assert.ok(streams * bytes > 2 * unreadLimits.connectionBytes);
  await using t = await unreadLogs(bytes);
  t.ask(streams);
  await eventually(10_000, () => t.open() === 0);
  assert.match(String(t.warnings[0]?.reason), /does not read its answers, of which \d+ MiB wait/);
});

Deno.test("of many connections that do not read, those that hold most are closed", async () => {
  await using t = await unreadLogs();
  const asked = 12;
  for (let n = 0; n < asked; n++) t.ask(64);
  await eventually(10_000, () => t.open() < asked);
  await settled(t.given);
  await using other = await dialCoordinator(t.address, { mode: "h2c" }, {
    clock: systemClock,
    log: silentLog,
  });
  assert.equal((await other.tasks.listWorkers())[0]?.id, "w1");
});
