import { anySignal } from "../../deno/any_signal.ts";
import { messageOf } from "../../base/errors.ts";
import type { Clock } from "../../base/clock.ts";
import { TaskError } from "../../tasks/service.ts";
import type { Loaded } from "../../tls/credentials.ts";
import type { ConnectionError } from "../../tls/diagnose.ts";
import type { PeerMode } from "../../tls/mode.ts";
import { statusCodes } from "../codes.ts";
import { keepaliveTimes } from "../keepalive.ts";
import { type CallStatus, fromStatus, isMeant } from "../status.ts";
import { type Call, type CallHandlers, type Method, type OpenCall, openCall } from "./call.ts";
import { connect, type Connection, type Dialling } from "./connect.ts";
import { checkHealth, keepAlive } from "./keepalive.ts";

/** How long a call waits for a connection, and a unary call for its answer. */
export const callTimes = {
  /** A packet that is lost twice has been sent again after 3 s (RFC 6298). */
  connectMs: 5_000,
  /** A commit on a busy disk takes far less. */
  answerMs: 30_000,
} as const;

/** One connection to one coordinator, made when it is first needed and again when it broke. */
export interface Dialled {
  readonly address: string;
  /** Resolves when the connection is ready; throws `TaskError` if it cannot be made. */
  ready(signal?: AbortSignal): Promise<void>;
  /** Opens a call on the connection, which is ready. */
  readonly call: OpenCall;
  /** What the end of a call, or an error while it was read, means to the caller. */
  meaning(cause: unknown): Promise<TaskError>;
  close(): void;
}

export function openChannel(
  address: string,
  mode: PeerMode,
  loaded: () => Loaded,
  clock: Clock,
): Dialled {
  const closing = new AbortController();
  const { signal: closed } = closing;
  const link = new Link({ address, mode, loaded, clock, signal: closed });
  void keepAlive({
    periodMs: keepaliveTimes.periodMs,
    connected: () => link.isOpen,
    probe: () => checkHealth((...call) => link.call(...call)),
    cut: () => link.cut(),
    clock,
    signal: closed,
  });
  const finding = diagnosis(
    async () => {
      // Most connections work, and need none of it.
      const { diagnose } = await import("../../tls/diagnose.ts");
      const error = await diagnose(address, mode, loaded(), clock);
      return error && taskErrorOf(error);
    },
    clock,
  );
  const unavailable = (what: string) => new TaskError("unavailable", what);
  const gone = () => unavailable(`The connection to "${address}" was closed`);

  return {
    address,
    async ready(signal) {
      const end = clock.monotonic() + callTimes.connectMs;
      while (!closed.aborted && !link.isOpen) {
        if (signal?.aborted) throw signal.reason;
        const leftMs = end - clock.monotonic();
        if (leftMs > 0 && await inTime(link.dial(), leftMs, clock, signal).catch(() => false)) {
          continue;
        }
        if (closed.aborted || signal?.aborted) continue;
        const error = await finding();
        if (error !== undefined) throw error;
        if (leftMs <= 0) {
          throw unavailable(`Could not connect to the coordinator at "${address}"`);
        }
      }
      if (closed.aborted) throw gone();
    },
    call: (...call) => link.call(...call),
    async meaning(cause) {
      if (cause instanceof TaskError) return cause;
      if (!isStatus(cause)) return new TaskError("internal", messageOf(cause));
      if (isMeant(cause)) return fromStatus(cause);
      // Neither side sends messages of that size: it is the page of a web server.
      if (cause.code === statusCodes.resourceExhausted) {
        const { notACoordinator } = await import("../../tls/diagnose.ts");
        return taskErrorOf(notACoordinator(address));
      }
      if (!brokenStatuses.has(cause.code)) return fromStatus(cause);
      if (closed.aborted) return gone();
      return await finding() ??
        unavailable(`The connection to "${address}" broke (${cause.details})`);
    },
    close() {
      closing.abort();
      link.close();
    },
  };
}

/** The connection of a channel, if there is one now. */
class Link {
  readonly #dialling: Dialling;
  #open: { connection: Connection; calls: Set<{ dropped(): void }> } | undefined;
  #connecting: Promise<void> | undefined;
  /** Waited before the next try; only keeps many calls from dialling at each of theirs. */
  #backoffMs = 0;

  constructor(dialling: Dialling) {
    this.#dialling = dialling;
  }

  get isOpen(): boolean {
    const { closed, destroyed } = this.#open?.connection.session ?? { closed: true };
    return !closed && !destroyed;
  }

  /** Makes the connection, or waits for it while it is made; throws if it cannot be made. */
  dial(): Promise<void> {
    return this.#connecting ??= this.#connect().finally(() => this.#connecting = undefined);
  }

  async #connect(): Promise<void> {
    const { clock, signal } = this.#dialling;
    if (this.#backoffMs > 0) await clock.sleep(this.#backoffMs, signal);
    let connection: Connection;
    try {
      connection = await connect(this.#dialling);
    } catch (error) {
      this.#backoffMs = Math.min(Math.max(100, 2 * this.#backoffMs), 1000);
      throw error;
    }
    this.#backoffMs = 0;
    const opened = { connection, calls: new Set<{ dropped(): void }>() };
    this.#open = opened;
    const retire = () => {
      if (this.#open === opened) this.#open = undefined;
    };
    connection.session.once("goaway", retire);
    connection.session.once("close", () => {
      retire();
      for (const call of opened.calls) call.dropped();
    });
    if (signal.aborted) this.close();
  }

  call<Request, Response>(
    method: Method<Request, Response>,
    handlers: CallHandlers<Response>,
    timeoutMs?: number,
  ): Call<Request> {
    const opened = this.isOpen ? this.#open : undefined;
    if (opened === undefined) return lostCall(handlers);
    const { connection, calls } = opened;
    const ended = (status: CallStatus) => {
      calls.delete(call);
      handlers.ended(status);
    };
    let call: Call<Request>;
    try {
      call = openCall(
        (headers) => connection.session.request(headers),
        method,
        { ...handlers, ended },
        timeoutMs,
      );
    } catch {
      // The session is over and has not said so yet.
      connection.cut();
      return lostCall(handlers);
    }
    calls.add(call);
    return call;
  }

  cut(): void {
    this.#open?.connection.cut();
  }

  /** No new calls; what was written before is still sent. */
  close(): void {
    if (this.isOpen) this.#open?.connection.session.close();
  }
}

/** A call without a connection. */
function lostCall(handlers: CallHandlers<never>): Call<unknown> {
  const status = {
    code: statusCodes.unavailable,
    details: "the connection was lost",
    trailers: {},
  };
  setTimeout(() => handlers.ended(status), 0);
  const nothing = () => {};
  const call = { end: nothing, cancel: nothing, pause: nothing, resume: nothing };
  return { ...call, dropped: nothing, write: () => true };
}

/** @returns whether the work was done in time; throws its error, or the reason of the signal. */
async function inTime(
  work: Promise<void>,
  ms: number,
  clock: Clock,
  signal?: AbortSignal,
): Promise<boolean> {
  const done = new AbortController();
  const stop = anySignal(done.signal, ...(signal === undefined ? [] : [signal]));
  try {
    const late = clock.sleep(ms, stop).then(() => false);
    return await Promise.race([work.then(() => true), late]);
  } finally {
    done.abort();
    stop[Symbol.dispose]();
  }
}

/** Many calls may fail at once: one diagnosis answers them all. */
function diagnosis(
  look: () => Promise<TaskError | undefined>,
  clock: Clock,
): () => Promise<TaskError | undefined> {
  let newest: { at: number; finding: Promise<TaskError | undefined> } | undefined;
  return () => {
    const now = clock.monotonic();
    if (newest === undefined || now - newest.at > sameFindingMs) {
      newest = { at: now, finding: look() };
    }
    return newest.finding;
  };
}

function taskErrorOf(cause: ConnectionError): TaskError {
  const code = cause.isUnauthenticated ? "unauthenticated" : "unavailable";
  return new TaskError(code, cause.message, undefined, { next: cause.next, cause });
}

/** Statuses of calls whose connection failed. */
const brokenStatuses: ReadonlySet<number> = new Set([
  statusCodes.unavailable,
  statusCodes.deadlineExceeded,
  // Of a call that was cut off without a status, or while this side was writing.
  statusCodes.internal,
]);

/** How long one diagnosis answers the calls that fail. */
const sameFindingMs = 1000;

function isStatus(cause: unknown): cause is CallStatus {
  return typeof cause === "object" && cause !== null && "trailers" in cause;
}
