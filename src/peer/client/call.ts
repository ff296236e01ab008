/**
 * The client's side of one gRPC call on an HTTP/2 stream (gRPC over HTTP2, PROTOCOL-HTTP2.md): messages
 * with a prefix of five bytes, and the status in the trailers. Messages are never compressed.
 */
import { Buffer } from "node:buffer";
import http2, { type ClientHttp2Stream, type IncomingHttpHeaders } from "node:http2";
import { messageOf } from "../../base/errors.ts";
import { limits } from "../../tasks/limits.ts";
import { statusCodes } from "../codes.ts";
import type { CallStatus } from "../status.ts";

/** What a call needs to know of a method; the generated definitions have it. */
export interface Method<Request, Response> {
  path: string;
  requestSerialize(request: Request): Uint8Array;
  responseDeserialize(bytes: Buffer): Response;
}

export interface CallHandlers<Response> {
  data(response: Response): void;
  /** Called once, after the last `data`. */
  ended(status: CallStatus): void;
  /** There is room again, after a `write` that said there is none. */
  drained?(): void;
}

/** A call that has been opened. */
export interface Call<Request> {
  /** @returns false if the writer should wait until `drained`. */
  write(request: Request): boolean;
  /** No more requests follow. */
  end(): void;
  /** Ends the call, without more `data`; the status is CANCELLED. */
  cancel(): void;
  /** No `data` from here to `resume`, not even of what has arrived. */
  pause(): void;
  resume(): void;
  /** The connection has gone. */
  dropped(): void;
}

/** Opens a call on a connection that is there. */
export type OpenCall = <Request, Response>(
  method: Method<Request, Response>,
  handlers: CallHandlers<Response>,
  timeoutMs?: number,
) => Call<Request>;

/** The bytes of written messages that a stream may hold before its writer has to wait. */
const sendBufferBytes = 1024 * 1024;

const prefixBytes = 5;

/** @param timeoutMs when the call ends by itself; the coordinator hears of this limit. */
export function openCall<Request, Response>(
  request: (headers: Record<string, string>) => ClientHttp2Stream,
  method: Method<Request, Response>,
  handlers: CallHandlers<Response>,
  timeoutMs?: number,
): Call<Request> {
  return new StreamCall(request(headersOf(method.path, timeoutMs)), method, handlers, timeoutMs);
}

function headersOf(path: string, timeoutMs: number | undefined): Record<string, string> {
  return {
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    ...(timeoutMs === undefined ? {} : { "grpc-timeout": `${timeoutMs}m` }),
  };
}

class StreamCall<Request, Response> implements Call<Request> {
  readonly #stream: ClientHttp2Stream;
  readonly #method: Method<Request, Response>;
  readonly #handlers: CallHandlers<Response>;
  readonly #messages = new MessageReader();
  readonly #timer: ReturnType<typeof setTimeout> | undefined;
  #paused = false;
  #writerWaits = false;
  #allRead = false;
  /** From the trailers, or why there are none. */
  #status: CallStatus | undefined;
  #over = false;

  constructor(
    stream: ClientHttp2Stream,
    method: Method<Request, Response>,
    handlers: CallHandlers<Response>,
    timeoutMs: number | undefined,
  ) {
    this.#stream = stream;
    this.#method = method;
    this.#handlers = handlers;
    if (timeoutMs !== undefined) {
      const late = `No answer within ${timeoutMs / 1000} s`;
      this.#timer = setTimeout(() => this.#abandon(statusCodes.deadlineExceeded, late), timeoutMs);
    }
    stream.on("response", (headers, flags) => this.#responded(headers, flags));
    stream.on("trailers", (trailers) => this.#concluded(trailers));
    stream.on("data", (bytes: Buffer) => {
      if (this.#over) return;
      this.#messages.push(bytes);
      this.#deliver();
    });
    stream.on("end", () => {
      this.#allRead = true;
      this.#deliver();
    });
    // "close" follows, and says more; an error without a listener ends the process.
    stream.on("error", () => {});
    // Trailers that came together with the end of the stream are reported after it.
    stream.on("close", () => setImmediate(() => this.#closed()));
  }

  write(request: Request): boolean {
    const stream = this.#stream;
    if (this.#over || stream.destroyed || stream.writableEnded) return true;
    const message = this.#method.requestSerialize(request);
    const framed = Buffer.allocUnsafe(prefixBytes + message.length);
    framed[0] = 0;
    framed.writeUInt32BE(message.length, 1);
    framed.set(message, prefixBytes);
    stream.write(framed, () => {
      if (!this.#writerWaits || stream.writableLength >= sendBufferBytes) return;
      this.#writerWaits = false;
      this.#handlers.drained?.();
    });
    this.#writerWaits = stream.writableLength >= sendBufferBytes;
    return !this.#writerWaits;
  }

  end(): void {
    if (!this.#stream.writableEnded && !this.#stream.destroyed) this.#stream.end();
  }

  cancel(): void {
    this.#abandon(statusCodes.cancelled, "The call was cancelled");
  }

  pause(): void {
    this.#paused = true;
    this.#stream.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#deliver();
    if (!this.#paused) this.#stream.resume();
  }

  dropped(): void {
    // What has arrived may still be on its way through the stream.
    setImmediate(() => {
      this.#status ??= statusOf(statusCodes.unavailable, "the connection was lost");
      this.#allRead = true;
      this.#deliver();
    });
  }

  #responded(headers: IncomingHttpHeaders, flags: number): void {
    if (!String(headers["content-type"] ?? "").startsWith("application/grpc")) {
      return this.#abandon(notGrpc, `HTTP status ${headers[":status"]} without gRPC`);
    }
    if ((flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0) this.#concluded(headers);
  }

  #concluded(trailers: IncomingHttpHeaders): void {
    this.#status ??= statusFrom(trailers);
    this.#deliver();
  }

  #closed(): void {
    this.#status ??= resetStatus(this.#stream.rstCode);
    this.#allRead = true;
    this.#deliver();
  }

  /** Hands over what has arrived in full, and then the status. */
  #deliver(): void {
    try {
      while (!this.#over && !this.#paused) {
        const message = this.#messages.next();
        if (message === undefined) break;
        this.#handlers.data(this.#method.responseDeserialize(message));
      }
    } catch (error) {
      const code = error instanceof NoMessage ? notGrpc : statusCodes.internal;
      return this.#abandon(code, messageOf(error));
    }
    if (!this.#paused && this.#allRead && this.#status !== undefined) this.#finish(this.#status);
  }

  /** Ends the call from this side. */
  #abandon(code: number, details: string): void {
    if (this.#over) return;
    if (!this.#stream.destroyed) this.#stream.close(http2.constants.NGHTTP2_CANCEL);
    this.#finish(statusOf(code, details));
  }

  #finish(status: CallStatus): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    // The other side has answered all; without this it would wait for our end.
    this.end();
    // What still comes is discarded, so that the stream can end.
    this.#stream.resume();
    this.#handlers.ended(status);
  }
}

/** What only another server sends, such as the page of a web server; no coordinator gives this code alone. */
const notGrpc = statusCodes.resourceExhausted;

/** On Deno 2.9 the body of a page may be reported before its headers. */
class NoMessage extends Error {}

/** Splits a stream into messages. */
class MessageReader {
  #parts: Buffer[] = [];
  #bytes = 0;

  push(part: Buffer): void {
    this.#parts.push(part);
    this.#bytes += part.length;
  }

  /** @throws {NoMessage} for what no coordinator sends. */
  next(): Buffer | undefined {
    if (this.#bytes < prefixBytes) return undefined;
    if (this.#parts[0]!.length < prefixBytes) this.#join();
    const [first] = this.#parts;
    if (first![0] !== 0) throw new NoMessage("A compressed message, which was not asked for");
    const length = first!.readUInt32BE(1);
    if (length > limits.maxMessageBytes) throw new NoMessage(`A message of ${length} bytes`);
    const end = prefixBytes + length;
    if (this.#bytes < end) return undefined;
    if (first!.length < end) this.#join();
    const whole = this.#parts[0]!;
    this.#bytes -= end;
    if (whole.length === end) this.#parts.shift();
    else this.#parts[0] = whole.subarray(end);
    return whole.subarray(prefixBytes, end);
  }

  #join(): void {
    this.#parts = [Buffer.concat(this.#parts, this.#bytes)];
  }
}

function statusOf(code: number, details: string): CallStatus {
  return { code, details, trailers: {} };
}

function statusFrom(headers: IncomingHttpHeaders): CallStatus {
  const trailers: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value === "string") trailers[name] = value;
  }
  const code = Number(trailers["grpc-status"] ?? statusCodes.unknown);
  return { code, details: unescaped(trailers["grpc-message"] ?? ""), trailers };
}

function unescaped(message: string): string {
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}

/** The status of a call that ended without trailers. */
function resetStatus(rstCode: number | undefined): CallStatus {
  switch (rstCode) {
    case http2.constants.NGHTTP2_REFUSED_STREAM:
      return statusOf(statusCodes.unavailable, "the call was refused");
    case http2.constants.NGHTTP2_ENHANCE_YOUR_CALM:
      return statusOf(statusCodes.unavailable, "the coordinator was asked too much at once");
    default:
      return statusOf(statusCodes.unavailable, `it ended without a status, ${rstCode}`);
  }
}
