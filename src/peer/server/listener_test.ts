import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { eventually } from "../../../tests/support/eventually.ts";
import { makeAuthority } from "../../../tests/support/openssl.ts";
import { temporaryFolder } from "../../../tests/support/temporary.ts";
import { systemClock } from "../../base/clock.ts";
import { silentLog } from "../../../tests/support/silent_log.ts";
import { fakeCoordinator } from "../../../tests/support/fake_coordinator.ts";
import { prepareHttp2 } from "../../deno/http2_sessions.ts";
import { dialCoordinator } from "../client.ts";
import { servePeer } from "../server.ts";
import { accept } from "./listener.ts";

const limits = { total: 3, perAddress: 3, pendingMs: 60_000 };

Deno.test("pending connections make room, then those without a call", async () => {
  prepareHttp2();
  const server = new Server();
  const listener = await accept(server, ServerCredentials.createInsecure(), {
    host: "127.0.0.1",
    port: 0,
    limits,
  });
  const sockets: Socket[] = [];
  const dial = (speaks: boolean): Promise<Socket> =>
    new Promise((resolve) => {
      const socket = connect(listener.port, "127.0.0.1").on("error", () => {}).resume();
      if (speaks) {
        socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
      }
      sockets.push(socket);
      // The server speaks first, and acknowledges what a client has sent, unless it hangs up.
      let frames = 0;
      socket.on("data", ({ length }) => {
        frames += length / 9;
        if (frames >= (speaks ? 2 : 1)) resolve(socket);
      }).once("close", () => resolve(socket));
    });
  const isHungUp = (socket: Socket) => socket.closed || socket.readableEnded;
  try {
    const [silent, first] = [await dial(false), await dial(true)];
    await dial(true);
    const second = await dial(false);
    await eventually(5_000, () => isHungUp(silent));
    assert.ok(!isHungUp(first) && !isHungUp(second));
    const third = await dial(true);
    await eventually(5_000, () => isHungUp(second));
    assert.ok(!isHungUp(first) && !isHungUp(third));
    const late = await dial(true);
    await eventually(5_000, () => isHungUp(first));
    assert.ok(!isHungUp(late));
    assert.deepEqual(listener.connections(), {
      ...{ open: 3, pending: 0 },
      ...{ overdue: 0, evicted: 3, refused: 0 },
    });
  } finally {
    for (const socket of sockets) socket.destroy();
    listener.close();
    listener.cut();
    server.forceShutdown();
  }
});

/** The head of a TLS record that promises a ClientHello of 508 bytes, of which 37 come. */
const halfHello = Buffer.from("16030102000100" + "01fc0303" + "00".repeat(35), "hex");

Deno.test("half a handshake ends at the deadline, and keeps no caller out", async (t) => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path);
  const mode = {
    mode: "mtls",
    skipVerify: false,
    clientCaFile: ca.caFile,
    ...await ca.issue("leaf"),
  } as const;
  const env = { clock: systemClock, log: silentLog };
  await using server = await servePeer({
    ...{ host: "127.0.0.1", port: 0, mode, env, ...fakeCoordinator() },
    callers: { total: 20, perAddress: 20, pendingMs: 1_000 },
  }, new AbortController().signal);
  const half: Socket[] = [];
  const isOver = (socket: Socket) => socket.closed || socket.readableEnded;
  const open = async () => {
    const socket = connect(server.port, "127.0.0.1").on("error", () => {}).resume();
    await new Promise((resolve) => socket.once("connect", resolve));
    socket.write(halfHello);
    half.push(socket);
    return socket;
  };
  const call = async () => {
    await using coordinator = await dialCoordinator(server.address, mode, env);
    return await coordinator.tasks.listWorkers();
  };
  try {
    await t.step("while twice as many as fit are open", async () => {
      for (let n = 0; n < 40; n++) await open();
      assert.equal((await call())[0]?.id, "w1");
    });
    await t.step("and it ends at its deadline", async () => {
      const late = await open();
      await eventually(5_000, () => isOver(late));
      assert.equal((await call())[0]?.id, "w1");
    });
  } finally {
    for (const socket of half) socket.destroy();
  }
});
