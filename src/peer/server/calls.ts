import { anySignal } from "../../deno/any_signal.ts";
import {
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  type MethodDefinition,
  type ServerWritableStream,
  type ServiceDefinition,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import type { Buffer } from "node:buffer";
import { boundedFromBytes, BoundedReader } from "../bounded_reader.ts";
import type { Log } from "../../base/log.ts";
import type { TimeSlices } from "../../base/time_slices.ts";
import type { CallCounts } from "./call_counts.ts";
import type { CallerOf } from "./caller.ts";
import { TaskError } from "../../tasks/service.ts";
import type { Identity } from "../../tasks/task.ts";
import type { ReadWindow } from "../gen/agent/v1/agent.ts";
import { toStatus } from "../status.ts";

/** What all handlers of one server share. */
export interface Serving {
  log: Log;
  /** Aborts when the server stops: calls end as soon as they can. */
  signal: AbortSignal;
  /** Calls that are being answered. */
  running: Set<Promise<void>>;
  callerOf: CallerOf;
  slices: TimeSlices;
  counts: CallCounts;
}

function track(serving: Serving, call: Promise<void>): void {
  serving.running.add(call);
  call.finally(() => serving.running.delete(call));
}

type Status = Pick<ServiceError, "code" | "details" | "metadata">;

/**
 * The status for an error. Any error but a `TaskError` is a bug: it is logged, and the caller gets only a
 * reference to the log line.
 */
export function statusFor(serving: Serving, method: string, thrown: unknown): Status {
  if (thrown instanceof TaskError && thrown.code !== "internal") return statusOf(thrown);
  const reference = crypto.randomUUID().slice(0, 8);
  const error = thrown instanceof Error ? thrown.stack ?? thrown.message : String(thrown);
  serving.log.error("a call failed unexpectedly", { method, reference, error });
  return statusOf(
    new TaskError("internal", `Internal error, see "${reference}" in the coordinator's log`),
  );
}

function statusOf(error: TaskError): Status {
  const { code, details, trailers } = toStatus(error);
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(trailers)) metadata.set(name, value);
  return { code, details, metadata };
}

/** Stands for a message that could not be decoded. */
const malformed = Symbol("malformed message");

/**
 * The service with decoders that do not throw: gRPC would answer INTERNAL with the text of the decoder.
 * `decoded` then refuses the message.
 */
export function tolerant<S extends ServiceDefinition>(service: S): S {
  const methods = Object.entries(service).map(([name, method]) => {
    const definition = method as MethodDefinition<unknown, unknown>;
    const requestDeserialize = (bytes: Parameters<typeof definition.requestDeserialize>[0]) => {
      try {
        return definition.requestDeserialize(
          bytes.length < boundedFromBytes ? bytes : new BoundedReader(bytes) as unknown as Buffer,
        );
      } catch {
        return malformed;
      }
    };
    return [name, { ...definition, requestDeserialize }];
  });
  return Object.fromEntries(methods);
}

export function decoded<T>(message: T): T {
  if (message === malformed) throw new TaskError("invalid", "The message is not well-formed");
  return message;
}

/** A unary method from a function of its request. */
export function unary<Request, Response>(
  serving: Serving,
  /**
   * @param by who calls, by the verified certificate.
   * @param from the caller's address.
   */
  answer: (request: Request, by: Identity | undefined, from: string) => Promise<Response>,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    const { certificate, address } = serving.callerOf(call);
    const answered = Promise.resolve().then(() =>
      answer(decoded(call.request), certificate?.identity, address)
    ).then(
      (response) => {
        serving.counts.ended(call.getPath(), status.OK);
        callback(null, response);
      },
      (error) => {
        const refused = statusFor(serving, call.getPath(), error);
        serving.counts.ended(call.getPath(), refused.code);
        callback(refused);
      },
    );
    track(serving, answered);
  };
}

type Bidi<Request, Response> = Parameters<handleBidiStreamingCall<Request, Response>>[0];
type Answering<Request, Response> =
  | ServerWritableStream<Request, Response>
  | Bidi<Request, Response>;

/**
 * Gives a call its answers and its status.
 *
 * @param answer gets a signal that aborts when the caller is gone or the server stops; it may then
 * return early.
 */
async function give<Request, Response>(
  serving: Serving,
  call: Answering<Request, Response>,
  answer: (over: AbortSignal) => Promise<void>,
): Promise<void> {
  const gone = new AbortController();
  call.once("cancelled", async () => {
    // A connection that breaks ends all its calls in one event; their work ends in turn.
    await serving.slices.pace();
    gone.abort(callerGone);
  });
  using over = anySignal(gone.signal, serving.signal);
  try {
    await answer(over);
    if (serving.signal.aborted) throw stopping();
    if (!call.cancelled) call.end();
    serving.counts.ended(call.getPath(), call.cancelled ? status.CANCELLED : status.OK);
  } catch (error) {
    if (call.cancelled) return serving.counts.ended(call.getPath(), status.CANCELLED);
    const cause = serving.signal.aborted ? stopping() : error;
    const refused = statusFor(serving, call.getPath(), cause);
    serving.counts.ended(call.getPath(), refused.code);
    call.emit("error", refused);
  }
}

/** One error for all: its stack says nothing, and taking it costs 10 µs. */
const callerGone = new TaskError("unavailable", "The caller has gone");

/** A server-streaming method from a function that gives its responses, as fast as they are read. */
export function streaming<Request, Response>(
  serving: Serving,
  answer: (request: Request, signal: AbortSignal) => AsyncIterable<Response>,
): handleServerStreamingCall<Request, Response> {
  return (call) => {
    const given = give(serving, call, async (over) => {
      for await (const response of answer(decoded(call.request), over)) {
        if (over.aborted) return;
        await write(call, response);
      }
    });
    track(serving, given);
  };
}

/**
 * A bidirectional method from a function that reads its requests and writes its responses. The next
 * message is read only when the last has been handled, so a slow disk slows the sender down.
 */
export function conversing<Request, Response>(
  serving: Serving,
  converse: (
    requests: AsyncIterable<Request>,
    respond: (response: Response) => Promise<void>,
    /** The caller's address. */
    from: string,
  ) => Promise<void>,
): handleBidiStreamingCall<Request, Response> {
  return (call) =>
    void give(
      serving,
      call,
      () => {
        const { address } = serving.callerOf(call);
        return converse(messages(call), (response) => write(call, response), address);
      },
    );
}

/**
 * A method whose first request asks for bytes, and whose later ones say how many of them have been
 * read. No more than the window that the first one names is sent ahead of that.
 *
 * @param last says that all was sent. The call stays open until the reader has said that all was read:
 * it could be writing, and on Deno 2.7 that fails a call that is over, with what was not read yet.
 */
export function reading<Request extends { window: ReadWindow | undefined }, Response>(
  serving: Serving,
  { last, bytesOf }: { last: Response; bytesOf: (response: Response) => number },
  answer: (request: Request, signal: AbortSignal) => AsyncIterable<Response>,
): handleBidiStreamingCall<Request, Response> {
  return (call) => {
    const given = give(serving, call, async (over) => {
      const requests = messages<Request, Response>(call);
      const first = await requests.next();
      if (first.done) return;
      const window = first.value.window?.bytes ?? 0n;
      let [sent, read] = [0n, 0n];
      /** Takes the reader's next message; false where it sends no more. */
      const heard = async () => {
        const next = await requests.next();
        if (!next.done) read = next.value.window?.read ?? read;
        return !next.done;
      };
      for await (const response of answer(first.value, over)) {
        if (over.aborted) return;
        await write(call, response);
        sent += BigInt(bytesOf(response));
        while (window > 0n && sent - read >= window) {
          if (!await heard()) throw new TaskError("invalid", "The reader ended before the data");
        }
      }
      if (over.aborted || window === 0n) return;
      call.write(last);
      while (read < sent && await heard());
    });
    track(serving, given);
  };
}

/**
 * The requests of a call, until its caller has ended its side. The stream's own iterator would then
 * destroy the call, with the answers and the status that are still to come.
 */
async function* messages<Request, Response>(call: Bidi<Request, Response>) {
  for await (const message of call.iterator({ destroyOnReturn: false })) {
    yield decoded(message as Request);
  }
}

/** The newest response of each call, until the connection has taken it. */
const underWay = new WeakMap<object, Promise<void>>();

/**
 * Settles when the connection has taken the response before this one: the next is built meanwhile. A
 * reader that does not read thus costs two responses, and what the connection holds for it.
 */
async function write<Response>(
  call: Answering<unknown, Response>,
  response: Response,
): Promise<void> {
  await underWay.get(call);
  if (!call.cancelled) underWay.set(call, handOver(call, response));
}

function handOver<Response>(
  call: Answering<unknown, Response>,
  response: Response,
): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const event of ends) call.off(event, done);
      resolve();
    };
    for (const event of ends) call.once(event, done);
    call.write(response, done);
  });
}

/** When a call is over, callbacks of what it still holds do not come. */
const ends = ["cancelled", "close"];

export function stopping(): TaskError {
  return new TaskError("unavailable", "The coordinator is stopping");
}

/**
 * Puts items into messages well below the largest, by what each takes when encoded, as they come.
 * No items are one empty message.
 */
export async function* packed<T>(
  items: AsyncIterable<T>,
  bytesOf: (item: T) => number,
): AsyncGenerator<T[]> {
  let part: T[] = [];
  let bytes = 0;
  for await (const item of items) {
    const size = bytesOf(item);
    if (part.length > 0 && isTooMuch(part.length, bytes + size)) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(item);
    bytes += size;
  }
  yield part;
}

/** The same for a list that is there; none for no items. */
export function* parts<T>(items: T[], bytesOf: (item: T) => number): Generator<T[]> {
  let part: T[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = bytesOf(item);
    if (part.length > 0 && isTooMuch(part.length, bytes + size)) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(item);
    bytes += size;
  }
  if (part.length > 0) yield part;
}

function isTooMuch(items: number, bytes: number): boolean {
  return items >= partItems || bytes > partBytes;
}

/**
 * One item may have 1.7 MiB (a task's arguments and environment) on top of a part that is full. Larger
 * parts hold the event loop longer while they are encoded; smaller ones cost more in all.
 */
const partBytes = 64 * 1024;
const partItems = 250;
