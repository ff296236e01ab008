/**
 * HTTP and HTTPS for everything of this program that answers HTTP: the health endpoint of each role
 * and the node. It is node:http and node:https, because Deno.serve cannot ask for a client
 * certificate, with deadlines of our own: on Deno 2.7 `handshakeTimeout` is ignored, `headersTimeout`
 * is late and misses a trickle, and a connection that sends nothing stays open.
 *
 * A connection is pending from the first instant until it has sent one whole request head, and is
 * closed where that takes too long; afterwards it may be idle between requests for a while. Request
 * heads and bodies are bounded in size and in time. Where places are short, connections whose client
 * has the turn (between two requests, within a body, not reading an answer) make room.
 */
import type { IncomingMessage, Server } from "node:http";
import { createServer as createHttpServer, ServerResponse } from "node:http";
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { joinHost } from "../base/address.ts";
import {
  type Admission,
  ConnectionLimit,
  type ConnectionLimits,
} from "../base/connection_limit.ts";
import { coarseInterval } from "../base/lifetimes.ts";
import { listen } from "../base/listen.ts";

/** What a TLS server proves itself with, all as PEM text. */
export interface ServerMaterial {
  /** The certificate, then its chain. */
  cert: string;
  key: string;
  /** CAs that client certificates are verified against; without it none is requested. */
  ca?: string | undefined;
}

export interface HttpOptions {
  host: string;
  /** 0: any free one. */
  port: number;
  /** The configuration key of the port, for the error that it is taken. */
  setting: string;
  /** HTTPS with optional client certificates; without it plain HTTP. */
  tls?: ServerMaterial;
  /** `pendingMs`: from the connection to its first whole request head. */
  connections: ConnectionLimits;
  /** How long a connection may be idle between requests; 0: each serves one request. */
  idleMs: number;
  /** Time for a request's body, from its head on. */
  bodyMs: number;
  /** Must not throw. */
  handle: (request: IncomingMessage, response: ServerResponse) => void;
}

export interface HttpServer extends AsyncDisposable {
  /** `host:port` with the real port. */
  readonly address: string;
  readonly port: number;
  /** Later handshakes use this; open connections continue. */
  setMaterial(material: ServerMaterial): void;
  /** Accepts nothing more, lets answers finish for `graceMs`, then closes what is left. */
  stop(graceMs: number): Promise<void>;
}

/** As nginx and Apache have it; cookies and proxies' headers fit many times. */
const maxHeadBytes = 16 * 1024;
const maxHeaders = 100;

/** After an answer to a request whose body was not read: for the answer to arrive before a reset. */
const lingerMs = 1_000;

/** @throws {UserError} where the address is not free. */
export async function serveHttp(options: HttpOptions): Promise<HttpServer> {
  const { tls } = options;
  const settings = {
    maxHeaderSize: maxHeadBytes,
    // Our own deadlines replace these; `requestTimeout` would also end long uploads, and the timer of
    // `keepAliveTimeout` costs each request 10 µs.
    headersTimeout: 0,
    requestTimeout: 0,
    keepAliveTimeout: 0,
  };
  const server = tls === undefined
    ? createHttpServer(settings)
    : createHttpsServer({ ...settings, ...contextOf(tls), ...clientCertificates(tls) });
  server.maxHeadersCount = maxHeaders;
  const connections = superviseConnections(server, options);
  await listen(server, options);
  const { port } = server.address() as AddressInfo;
  const stop = async (graceMs: number) => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    await connections.drain(graceMs);
    await closed;
  };
  return {
    address: joinHost(options.host, port),
    port,
    setMaterial(material) {
      (server as HttpsServer).setSecureContext(contextOf(material));
      // Read at each connection: CAs may come or go while the server runs.
      Object.assign(server, { requestCert: false, ...clientCertificates(material) });
    },
    stop,
    [Symbol.asyncDispose]: () => server.listening ? stop(0) : Promise.resolve(),
  };
}

/** `requestCert` without `ca` fails every handshake on Deno 2.7. */
function clientCertificates({ ca }: ServerMaterial) {
  return ca === undefined ? {} : { requestCert: true, rejectUnauthorized: false };
}

function contextOf({ cert, key, ca }: ServerMaterial) {
  return { cert, key, minVersion: "TLSv1.2" as const, ...(ca === undefined ? {} : { ca }) };
}

/** One connection: its raw socket, and what it is doing. */
interface Connection {
  socket: Socket;
  /** Requests whose answer is not complete. */
  active: number;
  admission: Admission;
  /** Since when it has been idle; undefined before its first request and during one. */
  idleSince: number | undefined;
  /** The newest request, and when its head came. */
  request: { message: IncomingMessage; socket: Socket; at: number } | undefined;
  /** Bytes that were taken of answers, and when there was none left or another one was taken. */
  taken: { bytes: number; at: number };
}

function superviseConnections(server: Server | HttpsServer, options: HttpOptions) {
  const open = new Map<string, Connection>();
  let isStopping = false;
  acceptConnections(server, options, open);
  /** By the socket that requests show, which over TLS is not the raw one. */
  const bySocket = new WeakMap<Socket, Connection>();
  const connectionOf = (socket: Socket) => {
    const connection = bySocket.get(socket) ?? open.get(keyOf(socket));
    if (connection !== undefined) bySocket.set(socket, connection);
    return connection;
  };
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    // Taken now: a request that has ended no longer knows its socket.
    const { socket } = request;
    const connection = connectionOf(socket);
    if (connection === undefined) return void socket.destroy();
    connection.admission.established();
    connection.idleSince = undefined;
    connection.request = { message: request, socket, at: performance.now() };
    connection.active++;
    if (options.idleMs === 0 || isStopping) response.shouldKeepAlive = false;
    response.once("close", () => {
      connection.active--;
      if (connection.socket.destroyed) return;
      if (!request.complete) linger(socket);
      else if (isStopping) socket.destroySoon();
      else if (connection.active === 0) connection.idleSince = performance.now();
    });
    if (repeatsHost(request)) {
      response.writeHead(400, { connection: "close" }).end("A request has one Host header\n");
    } else options.handle(request, response);
  });
  // One look at all instead of timers for each request, which cost a tenth of a small answer.
  server.once("listening", () => {
    const sweep = coarseInterval(
      () => lookAfter(open.values(), options),
      Math.min(sweepMs, options.bodyMs),
    );
    server.once("close", () => sweep[Symbol.dispose]());
  });
  server.on("upgrade", (request: IncomingMessage, socket: Socket) => {
    answerUpgrade(server, request, socket);
  });
  server.on("clientError", (error: Error & { code?: string }, socket: Socket) => {
    refuse(error, socket);
  });
  server.on("tlsClientError", (_error: Error, socket: Socket) => void socket.destroy());

  return {
    async drain(graceMs: number) {
      isStopping = true;
      for (const { active, socket } of open.values()) if (active === 0) socket.destroy();
      const end = performance.now() + graceMs;
      while (open.size > 0 && performance.now() < end) {
        await new Promise((resolve) => setTimeout(resolve, drainPollMs));
      }
      for (const { socket } of open.values()) socket.destroy();
    },
  };
}

/** A server must refuse it (RFC 9112, 3.2): a proxy in between may have looked at the other one. */
function repeatsHost({ rawHeaders }: IncomingMessage): boolean {
  let found = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    if (name.length === 4 && name.toLowerCase() === "host") found++;
  }
  return found > 1;
}

/**
 * Answers as if another protocol had not been offered (RFC 9110, 7.8): Java's client and `curl --http2`
 * offer HTTP/2 with each plain request. Without this the connection would close.
 */
function answerUpgrade(
  server: Server | HttpsServer,
  request: IncomingMessage,
  socket: Socket,
): void {
  const response = new ServerResponse(request);
  response.assignSocket(socket);
  // What follows on the connection was never parsed.
  response.shouldKeepAlive = false;
  response.once("finish", () => socket.destroySoon());
  server.emit("request", request, response);
}

/** Admits connections, and tells TLS from plain HTTP by the first byte. */
function acceptConnections(
  server: Server | HttpsServer,
  options: HttpOptions,
  open: Map<string, Connection>,
): void {
  const limit = new ConnectionLimit(options.connections);
  // The server's own listener. The server itself has to listen: Deno ends kept-alive connections of
  // a server that does not.
  const [serve] = server.listeners("connection") as ((socket: Socket) => void)[];
  server.removeAllListeners("connection");
  server.on("connection", (socket: Socket) => {
    const admission = limit.admit(socket);
    if (admission === undefined) return;
    const key = keyOf(socket);
    const connection: Connection = {
      socket,
      active: 0,
      admission,
      idleSince: undefined,
      request: undefined,
      taken: { bytes: 0, at: 0 },
    };
    open.set(key, connection);
    // A connection that breaks is the requests' concern; it must not be the process's.
    socket.on("error", () => {});
    // The end of an answer must not wait until its beginning is acknowledged (RFC 896), 40 ms each time.
    // The option `noDelay` of the server does nothing in Deno.
    socket.setNoDelay(true);
    socket.once("close", () => {
      if (open.get(key) === connection) open.delete(key);
    });
    if (options.tls === undefined) return serve!.call(server, socket);
    socket.once("data", (first: Uint8Array) => {
      if (first[0] !== tlsHandshake) return answerPlain(socket, first);
      socket.pause();
      socket.unshift(first);
      serve!.call(server, socket);
    });
  });
}

/** Ends connections that were idle for too long, and requests whose body is late. */
function lookAfter(connections: Iterable<Connection>, { idleMs, bodyMs }: HttpOptions): void {
  const now = performance.now();
  for (const connection of connections) {
    const { socket, idleSince, request, admission } = connection;
    // Without a request yet it is pending, which has a deadline of its own.
    if (request === undefined) continue;
    // Also ends a further request that comes in little by little.
    const isIdle = idleSince !== undefined && now - idleSince > idleMs;
    const isLate = !request.message.complete && now - request.at > bodyMs;
    if (isIdle || isLate) socket.destroy();
    else if (idleSince !== undefined || !request.message.complete || isUnread(connection, now)) {
      admission.waiting();
    } else admission.established();
  }
}

/** Whether the client has taken nothing for a while of what there is for it. */
function isUnread({ request, taken }: Connection, now: number): boolean {
  const { bytesWritten, writableLength } = request!.socket;
  const bytes = bytesWritten - writableLength;
  if (writableLength === 0 || bytes !== taken.bytes) Object.assign(taken, { bytes, at: now });
  return now - taken.at > unreadMs;
}

/** Far longer than a line stands still, and short enough for callers who find no place. */
const unreadMs = 10_000;

const drainPollMs = 20;

/** Deadlines of idle connections and of bodies are checked this often. */
const sweepMs = 1_000;

/** Content type of a TLS record that opens a handshake (RFC 8446, 5.1). */
const tlsHandshake = 22;

/** Names a connection while it is open, on the raw socket and on the TLS socket over it. */
function keyOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

/** The client used http:// on an https:// port: answer with a hint instead of closing. */
function answerPlain(socket: Socket, first: Uint8Array): void {
  const text = new TextDecoder("latin1").decode(first.subarray(0, 16));
  if (!/^[A-Z]+ /.test(text)) return void socket.destroy();
  endWith(socket, "400 Bad Request", "This port speaks HTTPS: use https:// in the address\n");
}

function refuse(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") return void socket.destroy();
  if (error.code === "HPE_HEADER_OVERFLOW") {
    return endWith(
      socket,
      "431 Request Header Fields Too Large",
      "The request head is too large\n",
    );
  }
  if (error.code?.startsWith("HPE_") !== true) return void socket.destroy();
  endWith(socket, "400 Bad Request", "This is not an HTTP request\n");
}

function endWith(socket: Socket, status: string, body: string): void {
  const lines = [
    `HTTP/1.1 ${status}`,
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${body.length}`,
    "Connection: close",
  ];
  socket.end(lines.join("\r\n") + "\r\n\r\n" + body);
  linger(socket);
}

/** Closing on unread data would reset the connection and take the answer back. */
function linger(socket: Socket): void {
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  socket.once("close", () => clearTimeout(timer));
}
