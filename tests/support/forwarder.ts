import { connect, createServer, type Socket } from "node:net";

/** A TCP forwarder whose connections can be cut, held and sent elsewhere. */
export interface Forwarder extends AsyncDisposable {
  readonly address: string;
  /** Sends new connections to this port. */
  pointTo(port: number): void;
  /** Closes all connections. */
  cut(): void;
  /** Forwards no more bytes, like a network that drops packets. */
  hold(): void;
  /** Forwards the bytes that arrived meanwhile, and continues. */
  resume(): void;
  /** Number of connections so far. */
  readonly connections: number;
  /** Bytes of answers so far. */
  readonly answered: number;
}

export async function forward(to: number): Promise<Forwarder> {
  const open = new Set<Socket>();
  /** The socket that each socket's bytes are written to. */
  const pairs = new Map<Socket, Socket>();
  let held = false;
  let port = to;
  let connections = 0;
  let answered = 0;
  const server = createServer((near) => {
    connections++;
    const far = connect({ host: "127.0.0.1", port });
    far.on("data", (bytes) => answered += bytes.length);
    for (const [socket, other] of [[near, far], [far, near]] as const) {
      open.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        open.delete(socket);
        pairs.delete(socket);
        other.destroy();
      });
      pairs.set(socket, other);
      if (!held) socket.pipe(other);
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
    hold() {
      held = true;
      for (const socket of open) socket.unpipe().pause();
    },
    resume() {
      held = false;
      for (const [from, to] of pairs) from.pipe(to);
    },
    get connections() {
      return connections;
    },
    get answered() {
      return answered;
    },
    async [Symbol.asyncDispose]() {
      cut();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
