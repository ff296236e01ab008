/**
 * Makes the writer of an HTTP/2 stream wait for its reader, and limits the memory that the process uses
 * for clients that do not read.
 *
 * Deno 2.9 calls the callback of a write when its bytes have gone to the socket. So what a connection
 * holds is the sum of all writes without a callback yet. Deno 2.7 calls the callback at once. There
 * only the socket counts what has been sent, for all streams of a connection together. Bytes of other
 * streams then count as sent for each stream, so that no writer waits forever, and the rest of a reset
 * stream is unknown. The code for 2.7 can be removed when 2.9 is the oldest supported version, the
 * rest when grpc-js or Deno limits this memory.
 */
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import { hangUp } from "./http2_frames.ts";
import { pingsWork } from "./http2_pings.ts";

export const unreadLimits = {
  /** A stream may hold this much before its writer waits: more than the window of our own readers. */
  streamBytes: 3 * 1024 * 1024,
  /**
   * Beyond this a connection is closed; readers resume by offset. If all streams of a connection wait,
   * it holds one message for each, so reaching this takes several hundred unread streams.
   */
  connectionBytes: 64 * 1024 * 1024,
  /** Beyond this in all connections together, the connection that holds most is closed. */
  totalBytes: 128 * 1024 * 1024,
} as const;

/** Whether a write's callback means that its bytes were sent: since the version in which pings work. */
const callbacksWait = pingsWork(Deno.version.deno);

/** How often a waiting writer checks again, and how long after enough writes the totals are checked. */
const [firstLookMs, lastLookMs, totalsAfterMs] = [2, 100, 100];

/** Bytes written since the totals were checked that are worth a check: heartbeats are not. */
const worthBytes = 1024 * 1024;

type Callback = (error?: Error | null) => void;

/** What the streams of one connection have written, and how much of it was sent. */
class Outgoing {
  /** Bytes of writes whose callback has not been called yet. */
  pending = 0;
  /** By open stream: bytes written so far. */
  readonly written = new Map<ServerHttp2Stream, number>();
  #allWritten = 0;
  readonly #session: ServerHttp2Session;

  constructor(session: ServerHttp2Session) {
    this.#session = session;
  }

  add(stream: ServerHttp2Stream, bytes: number): void {
    this.pending += bytes;
    this.#allWritten += bytes;
    this.written.set(stream, (this.written.get(stream) ?? 0) + bytes);
  }

  /** Bytes sent on the connection. The socket must not be used after the session has ended. */
  sent(): number {
    const { socket, destroyed } = this.#session;
    return destroyed ? 0 : socket.bytesWritten - socket.writableLength;
  }

  held(): number {
    if (this.#session.destroyed) return 0;
    if (callbacksWait) return this.pending + this.#session.socket.writableLength;
    const open = this.written.values().reduce((sum, bytes) => sum + bytes, 0);
    // At most what the open streams wrote: the rest of a reset stream was discarded.
    this.#allWritten = Math.min(this.#allWritten, this.sent() + open);
    return Math.max(0, this.#allWritten - this.sent());
  }

  close(): void {
    const mebibytes = Math.round(this.held() / 1024 / 1024);
    hangUp(this.#session, `it does not read its answers, of which ${mebibytes} MiB wait`);
  }
}

const connections = new Map<ServerHttp2Session, Outgoing>();
let unchecked = 0;
let totalsTimer: ReturnType<typeof setTimeout> | undefined;

/** For the "stream" event of an HTTP/2 server; the first listener, before anything is written. */
export function letWriterWait(stream: ServerHttp2Stream): void {
  const session = stream.session as ServerHttp2Session | undefined;
  if (session?.socket === undefined) return;
  const outgoing = outgoingOf(session);
  const before = outgoing.sent();
  const write = stream.write.bind(stream);
  let written = 0;
  const isOver = () => stream.destroyed || session.destroyed;
  const held = () => written - (outgoing.sent() - before);
  stream.once("close", () => outgoing.written.delete(stream));

  const callBack = (callback: Callback, lookMs: number, error?: Error | null): void => {
    if (error || isOver() || held() <= unreadLimits.streamBytes) return callback(error);
    setTimeout(callBack, lookMs, callback, Math.min(2 * lookMs, lastLookMs));
  };
  stream.write = (chunk: Uint8Array, callback?: unknown) => {
    written += chunk.length;
    outgoing.add(stream, chunk.length);
    unchecked += chunk.length;
    if (unchecked > worthBytes) totalsTimer ??= setTimeout(limitTotals, totalsAfterMs);
    return write(chunk, (error) => {
      outgoing.pending -= chunk.length;
      if (typeof callback === "function") callBack(callback as Callback, firstLookMs, error);
    });
  };
}

function outgoingOf(session: ServerHttp2Session): Outgoing {
  const known = connections.get(session);
  if (known !== undefined) return known;
  const outgoing = new Outgoing(session);
  connections.set(session, outgoing);
  session.once("close", () => {
    connections.delete(session);
    if (connections.size > 0) return;
    clearTimeout(totalsTimer);
    totalsTimer = undefined;
  });
  return outgoing;
}

function limitTotals(): void {
  totalsTimer = undefined;
  unchecked = 0;
  const held = [...connections.values()].map((outgoing) => ({ outgoing, bytes: outgoing.held() }))
    .toSorted((a, b) => b.bytes - a.bytes);
  let total = held.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const { outgoing, bytes } of held) {
    if (bytes <= unreadLimits.connectionBytes && total <= unreadLimits.totalBytes) break;
    outgoing.close();
    total -= bytes;
  }
  // Check again even without another write: on Deno 2.7 more may be found.
  if (total > 0 && connections.size > 0) totalsTimer = setTimeout(limitTotals, 10 * totalsAfterMs);
}
