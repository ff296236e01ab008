import assert from "node:assert/strict";
import { connect, createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { pingsWork } from "./http2_pings.ts";

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

Deno.test("pings work on this Deno where we say so, and only there", async () => {
  assert.equal(await pinged(), pingsWork(Deno.version.deno));
});
