import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { Buffer } from "node:buffer";
import { agent } from "../support/agent.ts";
import { tempHome } from "../support/home.ts";

/** The head of a TLS record that promises a ClientHello of 508 bytes, of which 37 come. */
const halfHello = Buffer.from("16030102000100" + "01fc0303" + "00".repeat(35), "hex");

Deno.test("3,050 unfinished handshakes do not keep a new caller out", async () => {
  await using home = await tempHome();
  assert.equal((await agent.run(["tls", "init"], { home })).code, 0);
  await using coordinator = await agent.start("coordinator", [
    "--peer.insecure=false",
    ...["--coordinator.port=0", "--coordinator.health-port=0"],
  ], { home });
  const port = Number(coordinator.address.split(":").at(-1));
  const half: Socket[] = [];
  try {
    // In groups: beyond the system's own queue (128) a connection waits a second for its next try.
    for (let group = 0; group < 61; group++) {
      await Promise.all(Array.from({ length: 50 }, () => {
        const socket = connect(port, "127.0.0.1").on("error", () => {}).resume();
        half.push(socket);
        return new Promise<void>((resolve) => {
          socket.once("close", () => resolve());
          socket.once("connect", () => socket.write(halfHello, () => resolve()));
        });
      }));
    }
    assert.equal(half.length, 3_050);
    const list = [
      "workers",
      "list",
      "--peer.insecure=false",
      "--coordinators",
      coordinator.address,
    ];
    const { code, stderr } = await agent.run(list, { home });
    assert.equal(code, 0, stderr);
  } finally {
    for (const socket of half) socket.destroy();
  }
});
