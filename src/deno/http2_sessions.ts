import http2 from "node:http2";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { keepSocket, paceFrames } from "./http2_frames.ts";
import { letWriterWait } from "./http2_writers.ts";

/**
 * Receive windows: bytes that the other side may send before it must wait for an update, on one stream
 * and on the whole connection. With the 64 KiB of RFC 9113, 6.5.2, a stream of large messages stops
 * all the time. 1 MiB gives 1.4 to 1.6 times the rate on loopback; more gains nothing.
 */
const receiveWindow = {
  streamBytes: 1024 * 1024,
  connectionBytes: 4 * 1024 * 1024,
} as const;

/**
 * Changes the behaviour of the HTTP/2 sessions of this process. Our client and the server of grpc-js make
 * them with these functions of node:http2; grpc-js has no options for any of this:
 *
 * - Connections have a larger receive window.
 * - Both sides close connections without GOAWAY: Deno 2.9 may crash when it sends or receives one
 *   (https://github.com/denoland/deno/issues/36788), so a client that ends could crash the
 *   coordinator. For peers the end of the connection means the same. Remove this when the issue is
 *   fixed in the oldest supported version.
 * - Servers take only so many calls in one turn of the event loop, and close the connection of a client
 *   that keeps resetting them; see http2_frames.ts.
 * - Writers wait for slow readers; see http2_writers.ts.
 * - The server is told when a connection has completed its handshakes, or failed; grpc-js does not
 *   report this.
 */
export function prepareHttp2(): void {
  if (done) return;
  done = true;
  const { connect, createServer, createSecureServer } = http2;
  const watched = <S extends http2.Http2Server | http2.Http2SecureServer>(server: S): S => {
    server.prependListener("session", prepare);
    server.prependListener("session", keepSocket);
    server.prependListener("session", reportGreeting);
    server.prependListener("stream", letWriterWait);
    server.prependListener("stream", nameConnection);
    skipDeadStreams(server);
    return server;
  };
  Object.assign(http2, {
    connect: (
      authority: string,
      options: http2.ClientSessionOptions | http2.SecureClientSessionOptions,
      ...rest: []
    ) => {
      const session = connect(authority, roomy(options), ...rest);
      session.once("connect", () => prepare(session));
      session.goaway = () => {};
      return session;
    },
    createServer: (options: http2.ServerOptions) =>
      watched(createServer(roomy(options))).prependListener("connection", paceFrames),
    createSecureServer: (options: http2.SecureServerOptions) =>
      watched(createSecureServer(roomy(options)))
        .prependListener("tlsClientError", reportFailure)
        .prependListener("secureConnection", reportSecured)
        .prependListener("secureConnection", paceFrames),
  });
}

let done = false;

function roomy<O extends { settings?: http2.Settings | undefined }>(options: O): O {
  const settings = { ...options.settings, initialWindowSize: receiveWindow.streamBytes };
  return { ...options, settings };
}

function prepare(session: http2.Http2Session): void {
  session.goaway = () => {};
  // The other side may have refused it in the meantime.
  if (session.destroyed) return;
  session.setLocalWindowSize(receiveWindow.connectionBytes);
}

/** Header that this process sets on each request; it replaces what the client sent under this name. */
export const connectionHeader = "agent-connection";

const connections = new Map<string, http2.Http2Session>();
const connectionIds = new WeakMap<http2.Http2Session, string>();
let connectionCount = 0;

/** The connection of a request, by its `connectionHeader`; undefined after it was closed. */
export function connectionOf(id: string): object | undefined {
  return connections.get(id);
}

/** grpc-js reports only the address of a call's connection, and the next connection may have the same. */
function nameConnection(
  stream: http2.ServerHttp2Stream,
  headers: http2.IncomingHttpHeaders,
): void {
  const { session } = stream;
  if (session === undefined) return void delete headers[connectionHeader];
  let id = connectionIds.get(session);
  if (id === undefined) {
    id = String(++connectionCount);
    connectionIds.set(session, id);
    connections.set(id, session);
    session.once("close", () => connections.delete(id!));
  }
  headers[connectionHeader] = id;
}

/** By connection: the listener that waits for its client to start HTTP/2. */
const awaitingGreeting = new Map<string, (session: http2.ServerHttp2Session) => void>();

/**
 * Calls the listener when the client of this connection has sent its SETTINGS: the TLS handshake and the
 * start of HTTP/2 (RFC 9113, 3.4) are complete. Deno 2.7 reports neither a client that sends something
 * else nor one that sends nothing.
 */
export function onceGreeted(
  socket: Socket,
  listener: (session: http2.ServerHttp2Session) => void,
): void {
  const key = connectionKey(socket);
  awaitingGreeting.set(key, listener);
  socket.once("close", () => {
    // The next connection may already have the same ends.
    if (awaitingGreeting.get(key) === listener) awaitingGreeting.delete(key);
  });
}

function reportGreeting(session: http2.ServerHttp2Session): void {
  session.once("remoteSettings", () => {
    const key = session.socket === undefined ? "" : connectionKey(session.socket);
    awaitingGreeting.get(key)?.(session);
    awaitingGreeting.delete(key);
  });
}

/** A TLS handshake that failed on a server of this process. */
export interface FailedHandshake {
  /** OpenSSL's name of the error, or ECONNRESET if one side closed the connection. */
  code: string;
  message: string;
  /** Why the client's certificate was refused, by OpenSSL's name; undefined if it was not. */
  verification: string | undefined;
}

const awaitingFailure = new WeakMap<object, (failure: FailedHandshake) => void>();

/** Calls the listener if the TLS handshake on this connection fails. */
export function onceHandshakeFails(
  socket: Socket,
  listener: (failure: FailedHandshake) => void,
): void {
  awaitingFailure.set(socket, listener);
}

/** Only this undocumented field of a TLS socket leads to the socket below it. */
type Wrapping = TLSSocket & { _parent?: object };

function reportFailure(error: Error & { code?: string }, secure: Wrapping): void {
  const { _parent: socket, authorizationError } = secure;
  if (socket === undefined) return;
  awaitingFailure.get(socket)?.({
    code: error.code ?? error.name,
    message: error.message,
    // It is the code of the failed verification; the types call it an error.
    verification: authorizationError ? String(authorizationError) : undefined,
  });
  awaitingFailure.delete(socket);
}

const awaitingSecured = new WeakMap<object, (secure: TLSSocket) => void>();

/** Calls the listener when the TLS handshake on this connection is complete, before HTTP/2 starts. */
export function onceSecured(socket: Socket, listener: (secure: TLSSocket) => void): void {
  awaitingSecured.set(socket, listener);
}

function reportSecured(secure: Wrapping): void {
  const { _parent: socket } = secure;
  if (socket !== undefined) awaitingSecured.get(socket)?.(secure);
}

/** Identifies a connection by its two addresses: a session does not expose the socket below it. */
function connectionKey({ localAddress, localPort, remoteAddress, remotePort }: Socket): string {
  return [localAddress, localPort, remoteAddress, remotePort].join(" ");
}

/**
 * Passes on only streams that can be answered: not those that a listener of the session has closed, and
 * not those that are over. A stream whose connection broke in the same read is over
 * before it is reported; on Deno 2.9 gRPC's answer to it would throw, and end the process.
 */
function skipDeadStreams(server: http2.Http2Server | http2.Http2SecureServer): void {
  const emit = server.emit.bind(server) as (event: string, ...args: unknown[]) => boolean;
  const living = (event: string, ...args: unknown[]) => {
    if (event !== "stream") return emit(event, ...args);
    const stream = args[0] as http2.ServerHttp2Stream;
    const isOver = stream.closed || stream.destroyed;
    if (!isOver && stream.session?.destroyed === false) return emit(event, ...args);
    stream.on("error", () => {/* No one else will hear of it. */});
    return true;
  };
  server.emit = living as typeof server.emit;
}
