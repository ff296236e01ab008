/**
 * Looks at the frames of an HTTP/2 connection before the runtime does, and passes on only as many as
 * the event loop can take. The runtime opens all calls of one read in a single turn of the loop: 20,000
 * small ones, of one caller, hold it for 2 s (Deno 2.9). Reads of a connection stop while some of its
 * frames wait.
 */
import { Buffer } from "node:buffer";
import type { ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import { nextTurn } from "./next_turn.ts";

/** Frame types, and the lengths of the client's preface and of a frame's head (RFC 9113, 3.4, 4.1, 6). */
const [headersType, resetType] = [1, 3];
const prefaceBytes = 24;
const [typeAt, headBytes] = [3, 9];

/**
 * Calls that may start in one turn of the event loop: of all connections, and of one while others wait.
 * A call costs about 0.1 ms, so a turn takes several milliseconds.
 */
const startsPerTurn = { total: 64, perConnection: 16 } as const;

/**
 * Resets that a client may send in one connection: 900 at once, and 33 more each second; then it is
 * closed. nghttp2 itself allows 1,000 and the same rate (against CVE-2023-44487), then ends the
 * connection; on Deno 2.7 this frees memory twice, and the process aborts.
 */
export const resetLimits = { burst: 900, perSecond: 33 } as const;

let startsLeft: number = startsPerTurn.total;
let isRefilling = false;
const waiting: (() => void)[] = [];

/** Whether one more call may start in this turn. */
function takeStart(): boolean {
  if (startsLeft === 0) return false;
  startsLeft--;
  refill();
  return true;
}

function refill(): void {
  if (isRefilling) return;
  isRefilling = true;
  // Other connections are read, too, however many calls wait.
  void nextTurn().then(() => {
    isRefilling = false;
    startsLeft = startsPerTurn.total;
    // Each gets its turn before any gets another.
    for (let left = waiting.length; left > 0 && startsLeft > 0; left--) waiting.shift()!();
    if (waiting.length > 0) refill();
  });
}

/** Where the frames of a stream of bytes start, whatever pieces it comes in. */
class FrameReader {
  /** Bytes until the next frame's head. */
  #skip = prefaceBytes;
  /** The next byte's place in the head of its frame. */
  #at = 0;
  #length = 0;

  /** Calls `seen` with each frame's type; where that returns false, stops before the type, and returns its offset. */
  read(chunk: Uint8Array, seen: (type: number) => boolean): number {
    let offset = 0;
    while (offset < chunk.length) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, chunk.length - offset);
        this.#skip -= skipped;
        offset += skipped;
        continue;
      }
      const byte = chunk[offset]!;
      if (this.#at === typeAt && !seen(byte)) return offset;
      if (this.#at < typeAt) this.#length = this.#length * 256 + byte;
      offset++;
      if (++this.#at < headBytes) continue;
      [this.#skip, this.#at, this.#length] = [this.#length, 0, 0];
    }
    return offset;
  }
}

/** The newest connection: its session is reported in the same turn. */
let newest: Socket | undefined;
const sockets = new WeakMap<ServerHttp2Session, Socket>();

/** For the "session" event of an HTTP/2 server. */
export function keepSocket(session: ServerHttp2Session): void {
  if (newest !== undefined) sockets.set(session, newest);
  const destroy = session.destroy.bind(session);
  session.destroy = (...why) => withoutStacks(() => destroy(...why));
}

/**
 * The end of a connection makes an error for each of its open calls. Their stacks, which nobody reads,
 * take nine tenths of the time: 1.3 s for 8,000 calls.
 */
function withoutStacks<R>(run: () => R): R {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return run();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

const listeners = new WeakMap<object, (why: string) => void>();

/** Calls the listener when this process closes the connection because of what its client does. */
export function onceHungUp(session: ServerHttp2Session, listener: (why: string) => void): void {
  listeners.set(sockets.get(session) ?? session, listener);
}

/** Ends a connection without a GOAWAY, which `session.destroy()` sends on Deno 2.9. */
export function hangUp(session: ServerHttp2Session, why: string): void {
  cut(sockets.get(session) ?? session, why);
}

function cut(connection: { destroy(): void }, why: string): void {
  listeners.get(connection)?.(why);
  listeners.delete(connection);
  connection.destroy();
}

/** For each connection of an HTTP/2 server, before the runtime listens to its data. */
export function paceFrames(socket: Socket): void {
  newest = socket;
  const emit = socket.emit.bind(socket) as (event: string, ...args: unknown[]) => boolean;
  const frames = new FrameReader();
  let held: Buffer = Buffer.alloc(0);
  // In its first turn the runtime reads what a paused socket has, besides listening to its data.
  let isNew = true;
  setImmediate(() => isNew = false);
  let [resetsLeft, at]: [number, number] = [resetLimits.burst, performance.now()];

  const takeReset = () => {
    const now = performance.now();
    const more = (now - at) / 1000 * resetLimits.perSecond;
    resetsLeft = Math.min(resetLimits.burst, resetsLeft + more) - 1;
    at = now;
    return resetsLeft >= 0;
  };

  /** Passes on what may be, and keeps the rest for a later turn. */
  const pass = (chunk: Buffer) => {
    let startsHere = 0;
    let isOver = false;
    const end = frames.read(chunk, (type) => {
      if (type === resetType) return !(isOver = !takeReset());
      if (type !== headersType) return true;
      if (startsHere === startsPerTurn.perConnection || !takeStart()) return false;
      startsHere++;
      return true;
    });
    if (isOver) return cut(socket, "it resets its calls, too many a second");
    held = chunk.subarray(end);
    if (end > 0) emit("data", held.length === 0 ? chunk : chunk.subarray(0, end));
    if (held.length === 0) return;
    if (!isNew) socket.pause();
    waiting.push(more);
    refill();
  };
  const more = () => {
    if (socket.destroyed) return;
    const chunk = held;
    held = Buffer.alloc(0);
    pass(chunk);
    if (held.length === 0) socket.resume();
  };
  const paced = (event: string, ...args: unknown[]) => {
    if (event === "close") return withoutStacks(() => emit(event, ...args));
    if (event !== "data") return emit(event, ...args);
    const chunk = args[0] as Buffer;
    if (held.length > 0) held = Buffer.concat([held, chunk]);
    else pass(chunk);
    return true;
  };
  socket.emit = paced as typeof socket.emit;
}
