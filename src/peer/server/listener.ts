import type { Server, ServerCredentials } from "@grpc/grpc-js";
import { constants, type ServerHttp2Session } from "node:http2";
import { createServer, type Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import {
  type Admission,
  type ConnectionCounts,
  ConnectionLimit,
  type ConnectionLimits,
} from "../../base/connection_limit.ts";
import { listen } from "../../base/listen.ts";
import { onceHungUp } from "../../deno/http2_frames.ts";
import { onceGreeted, onceHandshakeFails, onceSecured } from "../../deno/http2_sessions.ts";
import { limits as callLimits } from "../../tasks/limits.ts";
import { notGrpc, type Refusal, refusalOf } from "../../tls/refusals.ts";
import { keepaliveTimes } from "../keepalive.ts";

export interface Listener {
  readonly port: number;
  /** For metrics. */
  connections(): Readonly<ConnectionCounts>;
  /** Accepts no more connections. */
  close(): void;
  /** Ends those that are open. */
  cut(): void;
}

/**
 * How many callers may be connected at once. The total is far above what a few hundred hosts need,
 * and below the 4,096 files that systems commonly let a process open: a listener of Deno that has
 * run out of files accepts nothing more, without an error (seen with 2.7 and 2.9). One address may
 * use half of it, for hosts behind one NAT or on one machine. A TLS handshake and the start of
 * HTTP/2 take two round trips; 10 s cover several lost packets.
 */
export const callerLimits: ConnectionLimits = {
  total: 3_000,
  perAddress: 1_500,
  pendingMs: 10_000,
};

/** For one that asks for more than this process does at once. */
const next = "Ask for less at once; what was cut off may be asked for again";

/**
 * Accepts connections for a gRPC server. gRPC could do that itself, but would end them with GOAWAY, which
 * may crash a client on Deno 2.9 (see deno/http2_sessions.ts). Every client can handle a connection that
 * is simply closed. A connection is pending until its
 * client has opened HTTP/2; see base/connection_limit.ts.
 *
 * @throws {UserError} where it cannot listen on that address.
 */
export async function accept(
  server: Server,
  credentials: ServerCredentials,
  { host, port, limits = callerLimits, checked = () => undefined, refused = () => {} }: {
    host: string;
    port: number;
    limits?: ConnectionLimits;
    /** Checks a TLS connection before HTTP/2 starts; returns why it must be closed. */
    checked?: (secure: TLSSocket) => Refusal | undefined;
    /** Called with the IP address of a caller whose connection was refused, or closed for what it does. */
    refused?: (address: string, refusal: Refusal) => void;
  },
): Promise<Listener> {
  const injector = server.createConnectionInjector(credentials);
  const isSecure = credentials._isSecure();
  const limit = new ConnectionLimit(limits);
  const open = new Set<Socket>();

  /** Reports the first reason why the connection cannot be used, and no other. */
  const follow = (socket: Socket, admission: Admission) => {
    const address = socket.remoteAddress ?? "unknown";
    let isSettled = false;
    const refuse = (refusal: Refusal) => {
      // A probe of the port connects and leaves without sending anything: not a refusal.
      if (!isSettled && socket.bytesRead > 0) refused(address, refusal);
      isSettled = true;
    };
    onceGreeted(socket, (session) => {
      isSettled = true;
      onceHungUp(session, (reason) => refused(address, { cause: "asked_too_much", reason, next }));
      protectCalls(session, admission);
    });
    onceHandshakeFails(socket, (failure) => refuse(refusalOf(failure)));
    onceSecured(socket, (secure) => {
      const refusal = checked(secure);
      if (refusal === undefined) return;
      refuse(refusal);
      secure.destroy();
    });
    socket.once("close", () => {
      if (!isSecure) refuse(notGrpc);
    });
  };

  const listener = createServer((socket) => {
    // A connection that breaks fails its calls; it must not end the process.
    socket.on("error", () => {});
    const admission = limit.admit(socket);
    if (admission === undefined) return;
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    follow(socket, admission);
    // Small messages must not wait for one another (RFC 896).
    socket.setNoDelay(true);
    // Finds clients that vanished without a packet; see keepalive.ts.
    socket.setKeepAlive(true, keepaliveTimes.periodMs);
    injector.injectConnection(socket);
  });
  await listen(listener, { host, port, setting: "--coordinator.port" });
  const bound = listener.address();
  return {
    port: bound === null || typeof bound === "string" ? port : bound.port,
    connections: () => limit.counts(),
    close: () => void listener.close(),
    cut: () => open.forEach((socket) => socket.destroy()),
  };
}

/**
 * A connection without a call may be closed where places are short: its client dials again. Calls
 * beyond the limit are refused before anything is made for them.
 */
function protectCalls(session: ServerHttp2Session, admission: Admission): void {
  let calls = 0;
  admission.waiting();
  session.prependListener("stream", (stream, headers) => {
    // On Deno 2.7 a call whose reset came with it is over already.
    if (stream.destroyed) return;
    const isWorkers = headers[":path"]?.startsWith("/agent.v1.WorkerService/");
    if (calls >= callLimits.maxCallsPerConnection && !isWorkers) {
      return stream.close(constants.NGHTTP2_REFUSED_STREAM);
    }
    calls++;
    admission.established();
    stream.once("close", () => {
      if (--calls === 0) admission.waiting();
    });
  });
}
