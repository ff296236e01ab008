import assert from "node:assert/strict";
import { systemClock } from "../base/clock.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import type { TaskServer, WorkerServer } from "../tasks/service.ts";
import { servePeer } from "../peer/server.ts";

/** Frames of HTTP/2 (RFC 9113, 4.1 and 6). */
const settings = 4;
const goaway = 7;
const frame = (
  type: number,
  payload: number[],
) => [0, 0, payload.length, type, 0, 0, 0, 0, 0, ...payload];

Deno.test("a client that sends GOAWAY is disconnected without one in return", async () => {
  await using server = await servePeer({
    host: "127.0.0.1",
    port: 0,
    mode: { mode: "h2c" },
    tasks: {} as TaskServer,
    workers: {} as WorkerServer,
    env: { clock: systemClock, log: silentLog },
  }, new AbortController().signal);
  using client = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  const preface = [...new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")];
  const noError = [0, 0, 0, 0, 0, 0, 0, 0];
  await client.write(new Uint8Array([...preface, ...frame(settings, [])]));
  await client.write(new Uint8Array(frame(goaway, noError)));
  // It ends only when the server has hung up.
  const answer = await new Response(client.readable).bytes();
  const types: number[] = [];
  for (let at = 0; at < answer.length;) {
    types.push(answer[at + 3]!);
    at += 9 + (answer[at]! << 16 | answer[at + 1]! << 8 | answer[at + 2]!);
  }
  assert.ok(types.includes(settings));
  assert.ok(!types.includes(goaway), `frames ${types}`);
});
