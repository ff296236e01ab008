import type { Server, ServerCredentials } from "@grpc/grpc-js";
import { createServer, type Socket } from "node:net";
import { UserError } from "../../base/errors.ts";
import { joinHost } from "../../base/address.ts";
import { keepaliveTimes } from "../keepalive.ts";

export interface Listener {
  readonly port: number;
  /** Takes no more connections. */
  close(): void;
  /** Ends those that are open. */
  cut(): void;
}

/** The preface of HTTP/2 and an empty SETTINGS (RFC 9113, 3.4): less says nobody who wants something. */
const fewestBytes = 24 + 9;

/**
 * One connection more takes the place of one that has said nothing, or is hung up on. Far above what
 * a few hundred hosts need, and below the 4,096 files that systems commonly let a process open: a
 * listener of Deno that has run out of files is deaf from then on, without a word (tried with 2.7 and
 * 2.9).
 */
const mostConnections = 3_000;

/**
 * Accepts connections for a gRPC server, which would do that itself but then end them with GOAWAY:
 * a client on Deno 2.9 may crash over one (denoland/deno issue 36788). To be cut off means the same
 * to a client, and every client is made for that.
 */
export async function accept(
  server: Server,
  credentials: ServerCredentials,
  host: string,
  port: number,
  most = mostConnections,
): Promise<Listener> {
  const injector = server.createConnectionInjector(credentials);
  const open = new Set<Socket>();
  const listener = createServer((socket) => {
    if (open.size >= most) {
      const silent = [...open].find(({ bytesRead }) => bytesRead < fewestBytes);
      if (silent === undefined) return void socket.destroy();
      silent.destroy();
      open.delete(silent);
    }
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    // A connection that breaks is the calls' concern; it must not be the process's.
    socket.on("error", () => {});
    // Small messages must not wait for one another (RFC 896).
    socket.setNoDelay(true);
    // The least that finds out about a client that is gone; see keepalive.ts.
    socket.setKeepAlive(true, keepaliveTimes.periodMs);
    injector.injectConnection(socket);
  });
  await new Promise<void>((resolve, reject) => {
    listener.once("error", (cause: Error & { code?: string }) => {
      const used = cause.code === "EADDRINUSE";
      // EINVAL: as Deno 2.7 says EADDRNOTAVAIL.
      const foreign = cause.code === "EADDRNOTAVAIL" || cause.code === "EINVAL";
      const reason = used
        ? "another program uses the port"
        : foreign
        ? "this host has no such address"
        : cause.message;
      reject(
        new UserError(`Could not listen on "${joinHost(host, port)}": ${reason}`, {
          next: used
            ? "Stop that program, or choose another port with --coordinator.port"
            : "Choose an address of this host with --coordinator.host, or a port above 1023",
          cause,
        }),
      );
    });
    listener.listen({ host, port }, resolve);
  });
  const bound = listener.address();
  return {
    port: bound === null || typeof bound === "string" ? port : bound.port,
    close: () => void listener.close(),
    cut: () => open.forEach((socket) => socket.destroy()),
  };
}
