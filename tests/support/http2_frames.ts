/** HTTP/2 frames by hand (RFC 9113), for what no client library sends. */
export const frameTypes = { data: 0, headers: 1, reset: 3, settings: 4 } as const;
export const [endStream, endHeaders] = [1, 4];
const cancel = [0, 0, 0, 8];

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: number[] = [],
): number[] {
  const id = [stream >>> 24, stream >> 16 & 255, stream >> 8 & 255, stream & 255];
  return [0, payload.length >> 8, payload.length & 255, type, flags, ...id, ...payload];
}

/** A header as a literal without indexing (RFC 7541, 6.2.2). */
function literal(name: string, value: string): number[] {
  const bytes = (text: string) => [...new TextEncoder().encode(text)];
  return [0, name.length, ...bytes(name), value.length, ...bytes(value)];
}

/** HEADERS that start a call of this method. */
export function callFrame(stream: number, path: string): number[] {
  return frame(frameTypes.headers, endHeaders, stream, [
    ...literal(":method", "POST"),
    ...literal(":scheme", "http"),
    ...literal(":path", path),
    ...literal(":authority", "x"),
    ...literal("te", "trailers"),
    ...literal("content-type", "application/grpc"),
  ]);
}

/** A call that is reset at once. */
export function resetCall(stream: number, path: string): number[] {
  return [...callFrame(stream, path), ...frame(frameTypes.reset, 0, stream, cancel)];
}

/** How many calls the server has ended, by what came from it. */
export function endedCalls(bytes: Uint8Array): number {
  let found = 0;
  for (let at = 0; at + 9 <= bytes.length;) {
    const length = (bytes[at]! << 16) + (bytes[at + 1]! << 8) + bytes[at + 2]!;
    const isEnd = bytes[at + 4] === endStream + endHeaders;
    if (bytes[at + 3] === frameTypes.headers && isEnd) found++;
    at += 9 + length;
  }
  return found;
}

export interface RawConnection extends Disposable {
  /** Also settles when the server has closed the connection. */
  send(bytes: number[] | Uint8Array): Promise<void>;
  /** All that came. */
  received(): Uint8Array;
  isOver(): boolean;
  over: Promise<void>;
}

/** A connection that has opened HTTP/2. */
export async function openRaw(port: number): Promise<RawConnection> {
  const socket = await Deno.connect({ hostname: "127.0.0.1", port });
  const came: number[] = [];
  let isOver = false;
  const over = (async () => {
    const buffer = new Uint8Array(64 * 1024);
    for (let n; (n = await socket.read(buffer)) !== null;) came.push(...buffer.subarray(0, n));
  })().catch(() => {/* A reset connection is over, too. */}).finally(() => isOver = true);
  const send = async (bytes: number[] | Uint8Array) => {
    const all = new Uint8Array(bytes);
    for (let at = 0; at < all.length && !isOver;) {
      at += await socket.write(all.subarray(at)).catch(() => {
        isOver = true;
        return 0;
      });
    }
  };
  const preface = [...new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")];
  const { settings } = frameTypes;
  await send([...preface, ...frame(settings, 0, 0), ...frame(settings, 1, 0)]);
  return {
    send,
    received: () => new Uint8Array(came),
    isOver: () => isOver,
    over,
    [Symbol.dispose]: () => {
      try {
        socket.close();
      } catch {
        // It is closed.
      }
    },
  };
}
