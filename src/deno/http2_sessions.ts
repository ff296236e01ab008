import http2 from "node:http2";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { letWriterWait } from "./http2_writers.ts";

/**
 * Bytes that may be underway to this side before it says that there is room for more: on one stream,
 * and on the whole connection. With the 64 KiB of RFC 9113, 6.5.2, a stream of large messages stops
 * all the time; beyond 1 MiB nothing is gained (measured on loopback: 1.4 to 1.6 times the rate).
 */
const receiveWindow = {
  streamBytes: 1024 * 1024,
  connectionBytes: 4 * 1024 * 1024,
} as const;

/**
 * Changes how the HTTP/2 sessions of this process behave. grpc-js makes them with these functions of
 * the module, looks the functions up at each call, and has no options for any of this:
 *
 * - Connections have a larger receive window.
 * - They end without GOAWAY, on either side: Deno 2.9 may crash when it sends or receives one
 *   (https://github.com/denoland/deno/issues/36788), so that a client which ends would take the
 *   coordinator down. Peers take the end of the connection in the same way. This can go when the
 *   issue is fixed in the oldest supported version.
 * - A client that resets calls again and again is hung up on (Deno 2.7, see `resets`).
 * - Writers wait for slow readers; see http2_writers.ts.
 * - The server learns when a connection is secured, greeted or refused, which grpc-js keeps to itself.
 */
export function prepareHttp2(): void {
  if (done) return;
  done = true;
  const { connect, createServer, createSecureServer } = http2;
  const watched = <S extends http2.Http2Server | http2.Http2SecureServer>(server: S): S => {
    server.prependListener("session", prepare);
    server.prependListener("session", reportGreeting);
    server.prependListener("stream", letWriterWait);
    server.prependListener("stream", nameConnection);
    server.prependListener("session", limitResets);
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
    createServer: (options: http2.ServerOptions) => watched(createServer(roomy(options))),
    createSecureServer: (options: http2.SecureServerOptions) =>
      watched(createSecureServer(roomy(options)))
        .prependListener("tlsClientError", reportFailure)
        .prependListener("secureConnection", reportSecured),
  });
}

let done = false;

function roomy<O extends { settings?: http2.Settings | undefined }>(options: O): O {
  const settings = { ...options.settings, initialWindowSize: receiveWindow.streamBytes };
  return { ...options, settings };
}

function prepare(session: http2.Http2Session): void {
  session.goaway = () => {};
  session.setLocalWindowSize(receiveWindow.connectionBytes);
}

/** Set on each request that a server of this process gets, whatever the client sent under this name. */
export const connectionHeader = "agent-connection";

const connections = new Map<string, http2.Http2Session>();
const connectionIds = new WeakMap<http2.Http2Session, string>();
let connectionCount = 0;

/** Stands for the connection of a request by its `connectionHeader`, while it is open. */
export function connectionOf(id: string): object | undefined {
  return connections.get(id);
}

/** grpc-js tells of a call's connection only its address, which the next connection may have, too. */
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

/** By connection: who waits for its client to open HTTP/2. */
const awaitingGreeting = new Map<string, () => void>();

/**
 * Calls the listener once the client of this connection, which a server of this process has taken,
 * sent its SETTINGS: the end of its TLS handshake and of the opening of HTTP/2 (RFC 9113, 3.4).
 * Deno 2.7 reports neither a client that sends something else nor one that sends nothing.
 */
export function onceGreeted(socket: Socket, listener: () => void): void {
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
    awaitingGreeting.get(key)?.();
    awaitingGreeting.delete(key);
  });
}

/** A TLS handshake that a server of this process could not finish. */
export interface FailedHandshake {
  /** OpenSSL's name of the error, or ECONNRESET where one side hung up. */
  code: string;
  message: string;
  /** Why the client's certificate was refused, by OpenSSL's name; undefined where it was not. */
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

/** A TLS socket does not give away the one that it was made of, but for this undocumented field. */
type Wrapping = TLSSocket & { _parent?: object };

function reportFailure(error: Error & { code?: string }, secure: Wrapping): void {
  const { _parent: socket, authorizationError } = secure;
  if (socket === undefined) return;
  awaitingFailure.get(socket)?.({
    code: error.code ?? error.name,
    message: error.message,
    // It has the code of a verification that failed; the types call it an error.
    verification: authorizationError ? String(authorizationError) : undefined,
  });
  awaitingFailure.delete(socket);
}

const awaitingSecured = new WeakMap<object, (secure: TLSSocket) => void>();

/** Calls the listener when the TLS handshake on this connection is done, before HTTP/2 begins. */
export function onceSecured(socket: Socket, listener: (secure: TLSSocket) => void): void {
  awaitingSecured.set(socket, listener);
}

function reportSecured(secure: Wrapping): void {
  const { _parent: socket } = secure;
  if (socket !== undefined) awaitingSecured.get(socket)?.(secure);
}

/** Names a connection by its ends: a session does not give away the socket that it was made of. */
function connectionKey({ localAddress, localPort, remoteAddress, remotePort }: Socket): string {
  return [localAddress, localPort, remoteAddress, remotePort].join(" ");
}

/**
 * Calls that a client may reset, in one connection: 500 at once, and 33 more each second. nghttp2
 * itself allows 1,000 and then the same rate (against CVE-2023-44487), and ends the connection; on
 * Deno 2.7 that end frees memory twice, and the process aborts. Ours ends it before that, unless more
 * than 1,000 come in one read. This can go when 2.9 is the oldest supported version.
 */
const resets = { burst: 500, perSecond: 33 } as const;

function limitResets(session: http2.ServerHttp2Session): void {
  let left: number = resets.burst;
  let at = performance.now();
  const count = () => {
    const now = performance.now();
    left = Math.min(resets.burst, left + (now - at) / 1000 * resets.perSecond) - 1;
    at = now;
    if (left < 0) session.destroy();
  };
  session.prependListener("stream", (stream) => {
    // Deno 2.7 reports a call whose reset came with it when that is over, and has no "aborted".
    if (stream.destroyed) return count();
    stream.once("close", () => {
      if (stream.rstCode !== http2.constants.NGHTTP2_NO_ERROR) count();
    });
  });
}
