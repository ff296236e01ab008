/**
 * Makes the writer of an HTTP/2 stream wait for its reader, and bounds what the process holds for
 * readers that do not read.
 *
 * By itself Deno 2.7 calls a writer back at once, and 2.9 while the reader's windows have room,
 * however large they are and whether or not it reads: all that such a reader asked for would gather
 * in memory (4.8 MiB for each stream of a log). What has gone out can be counted at the socket; what
 * other streams of the connection send meanwhile counts as ours, so that no writer waits forever. This
 * file can go when a write's callback comes only once the bytes have left the process.
 */
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";

export const unreadLimits = {
  /** A stream may hold this much before its writer waits: more than the window of our own readers. */
  streamBytes: 3 * 1024 * 1024,
  /** Beyond this the writers of a connection wait until all that they wrote has left. */
  connectionBytes: 16 * 1024 * 1024,
  /** Beyond this, in all, the connection that holds most is closed; readers resume by offset. */
  totalBytes: 128 * 1024 * 1024,
} as const;

/** How often a writer that waits looks again, and how long after a write the total is looked at. */
const [firstLookMs, lastLookMs, totalAfterMs] = [2, 100, 100];

/** What the open streams of each connection hold. */
const sessions = new Map<ServerHttp2Session, Set<() => number>>();
let totalTimer: ReturnType<typeof setTimeout> | undefined;

type Callback = (error?: Error | null) => void;

/** For the "stream" event of an HTTP/2 server; the first listener, before anything is written. */
export function letWriterWait(stream: ServerHttp2Stream): void {
  const session = stream.session as ServerHttp2Session | undefined;
  const socket = session?.socket;
  if (session === undefined || socket === undefined) return;
  const sent = () => socket.bytesWritten - socket.writableLength;
  const before = sent();
  const write = stream.write.bind(stream);
  let written = 0;
  // The socket of a session that is over may not be asked anything.
  const isOver = () => stream.destroyed || session.destroyed;
  const held = () => isOver() ? 0 : Math.max(0, written - (sent() - before));
  const streams = streamsOf(session);
  streams.add(held);
  stream.once("close", () => streams.delete(held));

  const callBack = (callback: Callback, lookMs: number, error?: Error | null): void => {
    if (error || isOver() || held() <= allowance(streams)) return callback(error);
    setTimeout(callBack, lookMs, callback, Math.min(2 * lookMs, lastLookMs));
  };
  stream.write = (chunk: Uint8Array, callback?: unknown) => {
    written += chunk.length;
    totalTimer ??= setTimeout(limitTotal, totalAfterMs);
    return write(chunk, (error) => {
      if (typeof callback === "function") callBack(callback as Callback, firstLookMs, error);
    });
  };
}

function streamsOf(session: ServerHttp2Session): Set<() => number> {
  const known = sessions.get(session);
  if (known !== undefined) return known;
  const streams = new Set<() => number>();
  sessions.set(session, streams);
  session.once("close", () => {
    sessions.delete(session);
    if (sessions.size > 0) return;
    clearTimeout(totalTimer);
    totalTimer = undefined;
  });
  return streams;
}

function allowance(streams: Set<() => number>): number {
  return sum(streams) > unreadLimits.connectionBytes ? 0 : unreadLimits.streamBytes;
}

function sum(streams: Set<() => number>): number {
  let bytes = 0;
  for (const held of streams) bytes += held();
  return bytes;
}

function limitTotal(): void {
  totalTimer = undefined;
  const held = [...sessions].map(([session, streams]) => ({ session, bytes: sum(streams) }));
  const total = held.reduce((bytes, each) => bytes + each.bytes, 0);
  if (total <= unreadLimits.totalBytes) return;
  held.toSorted((a, b) => b.bytes - a.bytes)[0]!.session.destroy();
  totalTimer = setTimeout(limitTotal, totalAfterMs);
}
