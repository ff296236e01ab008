import assert from "node:assert/strict";
import { connect, createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { pingsWork, serverKeepalive } from "./keepalive.ts";

/** Whether HTTP/2 pings of this Deno can be sent and are answered. */
async function pinged(): Promise<boolean> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  try {
    return await new Promise<boolean>((resolve, reject) => {
      client.once("error", reject);
      client.once("remoteSettings", () => {
        if (!client.ping((error) => resolve(error === null || error === undefined))) resolve(false);
      });
    });
  } finally {
    client.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

Deno.test("servers ping where the pings of this Deno work, and only there", async () => {
  assert.equal(await pinged(), pingsWork(Deno.version.deno));
});

Deno.test("servers do not ping where a ping would end the connection", () => {
  assert.deepEqual(serverKeepalive("2.7.14"), {});
  assert.deepEqual(serverKeepalive("2.9.6"), {
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 10_000,
  });
});
