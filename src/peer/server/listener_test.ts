import { connect, type Socket } from "node:net";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { eventually } from "../../../tests/support/eventually.ts";
import { accept } from "./listener.ts";

Deno.test("of too many connections the last are hung up on, and there is room again", async () => {
  const server = new Server();
  const listener = await accept(server, ServerCredentials.createInsecure(), "127.0.0.1", 0, 3);
  const dial = (): Socket => connect(listener.port, "127.0.0.1").on("error", () => {});
  const sockets = Array.from({ length: 5 }, dial);
  const hungUp = () => sockets.filter(({ closed, readableEnded }) => closed || readableEnded);
  sockets.forEach((socket) => socket.resume());
  await eventually(5_000, () => hungUp().length === 2);
  for (const socket of hungUp()) sockets.splice(sockets.indexOf(socket), 1);
  sockets[0]!.destroy();
  await eventually(5_000, async () => {
    const next = dial();
    next.resume();
    const isHungUp = await Promise.race([
      new Promise<boolean>((resolve) => next.once("close", () => resolve(true))),
      new Promise<boolean>((resolve) => setTimeout(resolve, 200, false)),
    ]);
    next.destroy();
    return !isHungUp;
  });
  for (const socket of sockets) socket.destroy();
  listener.close();
  listener.cut();
  server.forceShutdown();
});
