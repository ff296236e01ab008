import { connect, createServer, type Socket } from "node:net";

/** A port in between, whose connections can be cut and which can be pointed elsewhere. */
export interface Forwarder extends AsyncDisposable {
  readonly address: string;
  /** Where new connections go. */
  pointTo(port: number): void;
  /** Cuts all connections, as a network does: without a word. */
  cut(): void;
  /** How many connections have been made so far. */
  readonly connections: number;
}

export async function forward(to: number): Promise<Forwarder> {
  const open = new Set<Socket>();
  let port = to;
  let connections = 0;
  const server = createServer((near) => {
    connections++;
    const far = connect({ host: "127.0.0.1", port });
    for (const [socket, other] of [[near, far], [far, near]] as const) {
      open.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        open.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const own = server.address();
  if (own === null || typeof own === "string") throw new Error("The forwarder has no port");
  const cut = () => open.forEach((socket) => socket.destroy());
  return {
    address: `127.0.0.1:${own.port}`,
    pointTo: (next) => void (port = next),
    cut,
    get connections() {
      return connections;
    },
    async [Symbol.asyncDispose]() {
      cut();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
