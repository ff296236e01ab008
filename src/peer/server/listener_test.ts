import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { eventually } from "../../../tests/support/eventually.ts";
import { accept } from "./listener.ts";

Deno.test("of too many connections the silent are hung up on, then the last", async () => {
  const server = new Server();
  const listener = await accept(server, ServerCredentials.createInsecure(), "127.0.0.1", 0, 3);
  const sockets: Socket[] = [];
  const dial = (speaks: boolean): Promise<Socket> =>
    new Promise((resolve) => {
      const socket = connect(listener.port, "127.0.0.1").on("error", () => {}).resume();
      if (speaks) {
        socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
      }
      sockets.push(socket);
      // The server speaks first, and answers who has spoken, unless it hangs up.
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
    await eventually(5_000, () => isHungUp(late));
    first.destroy();
    await eventually(5_000, async () => !isHungUp(await dial(true)));
  } finally {
    for (const socket of sockets) socket.destroy();
    listener.close();
    listener.cut();
    server.forceShutdown();
  }
});
