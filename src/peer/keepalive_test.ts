import assert from "node:assert/strict";
import { serverKeepalive } from "./keepalive.ts";

Deno.test("servers do not ping where a ping would end the connection", () => {
  assert.deepEqual(serverKeepalive("2.7.14"), {});
  assert.deepEqual(serverKeepalive("2.9.6"), {
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 10_000,
  });
});
