/**
 * Makes the writer of an HTTP/2 stream wait for its reader, and bounds what the process holds for
 * readers that do not read.
 *
 * Deno 2.9 calls a writer back when its bytes have gone to the socket, so what a connection holds is
 * known: the bytes of all writes that have not been called back. Deno 2.7 calls back at once. There
 * what has gone out can only be counted at the socket, for all streams of a connection together: what
 * other streams send counts as ours, so that no writer waits forever, and what a reset stream still
 * held is not known. The part for 2.7 can go when 2.9 is the oldest supported version, the rest when
 * grpc-js or Deno bounds it.
 */
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import { pingsWork } from "./http2_pings.ts";

export const unreadLimits = {
  /** A stream may hold this much before its writer waits: more than the window of our own readers. */
  streamBytes: 3 * 1024 * 1024,
  /**
   * Beyond this a connection is closed; readers resume by offset. A connection whose streams all wait
   * holds one message for each, so it takes some hundred unread streams to come here.
   */
  connectionBytes: 64 * 1024 * 1024,
  /** Beyond this, in all, the connection that holds most is closed. */
  totalBytes: 128 * 1024 * 1024,
} as const;

/** Whether a write's callback means that the bytes have left; it came with the pings that work. */
const callbacksWait = pingsWork(Deno.version.deno);

/** How often a writer that waits looks again, and how long after a write the totals are looked at. */
const [firstLookMs, lastLookMs, totalsAfterMs] = [2, 100, 100];

type Callback = (error?: Error | null) => void;

/** What the streams of one connection have written, and what of it has left. */
class Outgoing {
  /** Bytes of writes that were not called back yet. */
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

  /** Bytes that went out on the connection; its socket may not be asked once the session is over. */
  sent(): number {
    const { socket, destroyed } = this.#session;
    return destroyed ? 0 : socket.bytesWritten - socket.writableLength;
  }

  held(): number {
    if (this.#session.destroyed) return 0;
    if (callbacksWait) return this.pending + this.#session.socket.writableLength;
    const open = this.written.values().reduce((sum, bytes) => sum + bytes, 0);
    // No more than the open streams wrote: a stream that was reset has taken its rest with it.
    this.#allWritten = Math.min(this.#allWritten, this.sent() + open);
    return Math.max(0, this.#allWritten - this.sent());
  }

  close(): void {
    this.#session.destroy();
  }
}

const connections = new Map<ServerHttp2Session, Outgoing>();
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
    totalsTimer ??= setTimeout(limitTotals, totalsAfterMs);
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
  const held = [...connections.values()].map((outgoing) => ({ outgoing, bytes: outgoing.held() }))
    .toSorted((a, b) => b.bytes - a.bytes);
  let total = held.reduce((sum, { bytes }) => sum + bytes, 0);
  for (const { outgoing, bytes } of held) {
    if (bytes <= unreadLimits.connectionBytes && total <= unreadLimits.totalBytes) break;
    outgoing.close();
    total -= bytes;
  }
  // Without a further write there would be no further look; what is held may only have been found.
  if (total > 0 && connections.size > 0) totalsTimer = setTimeout(limitTotals, 10 * totalsAfterMs);
}
