import { messageOf } from "../../base/errors.ts";
import {
  Channel,
  ChannelCredentials,
  type ChannelOptions,
  type ClientDuplexStream,
  connectivityState,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import type { Clock } from "../../base/clock.ts";
import { splitHost } from "../../base/address.ts";
import type { Loaded } from "../../tls/credentials.ts";
import { limits } from "../../tasks/limits.ts";
import { TaskError } from "../../tasks/service.ts";
import { keepaliveTimes } from "../keepalive.ts";
import { type ConnectionError, diagnose, notACoordinator } from "../../tls/diagnose.ts";
import { HealthClient } from "../gen/grpc/health/v1/health.ts";
import type { PeerMode } from "../../tls/mode.ts";
import { fromStatus, isMeant } from "../status.ts";
import type { ReadWindow } from "../gen/agent/v1/agent.ts";
import { Connections, keepAlive } from "./keepalive.ts";
import { registerNameResolver, targetOf } from "./resolver.ts";
import { TlsChannelCredentials } from "./tls_channel.ts";

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
  readonly channel: Channel;
  /** Resolves when the connection is ready; throws `TaskError` if it cannot be made. */
  ready(signal?: AbortSignal): Promise<void>;
  /** What an error of a call means to the caller. */
  meaning(error: unknown): Promise<TaskError>;
  close(): void;
}

const channelOptions: ChannelOptions = {
  "grpc.max_receive_message_length": limits.maxMessageBytes,
  "grpc.max_send_message_length": limits.maxMessageBytes,
  // Never through a proxy: a coordinator is on the same network, and only its address is granted.
  "grpc.enable_http_proxy": 0,
  // Two clients with different credentials must not share a connection.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.service_config_disable_resolution": 1,
  // Workers have their own, longer backoff; this one only keeps calls from dialling at each try.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1000,
};

export function openChannel(
  address: string,
  mode: PeerMode,
  loaded: () => Loaded,
  clock: Clock,
): Dialled {
  registerNameResolver();
  const { host } = splitHost(address);
  const credentials = mode.mode === "h2c"
    ? ChannelCredentials.createInsecure()
    : new TlsChannelCredentials(mode, host, loaded, clock);
  const connections = new Connections();
  const channel = new Channel(
    targetOf(address),
    connections.follow(credentials),
    channelOptions,
  );
  const closing = new AbortController();
  void keepAlive({
    periodMs: keepaliveTimes.periodMs,
    connected: () => channel.getConnectivityState(false) === connectivityState.READY,
    probe: prober(address, channel),
    cut: () => connections.cut(),
    clock,
    signal: closing.signal,
  });
  let closed = false;
  const finding = diagnosis(
    async () => {
      const error = await diagnose(address, mode, loaded(), clock);
      return error && taskErrorOf(error);
    },
    clock,
  );
  const unavailable = (what: string) => new TaskError("unavailable", what);

  return {
    address,
    channel,
    async ready(signal) {
      const end = clock.monotonic() + callTimes.connectMs;
      for (;;) {
        if (closed) throw unavailable(`The connection to "${address}" was closed`);
        if (signal?.aborted) throw signal.reason;
        const state = channel.getConnectivityState(true);
        if (state === connectivityState.READY) return;
        const overdue = clock.monotonic() >= end;
        if (state === connectivityState.TRANSIENT_FAILURE || overdue) {
          const error = await finding();
          if (error !== undefined) throw error;
          if (overdue) throw unavailable(`Could not connect to the coordinator at "${address}"`);
        }
        await stateChange(channel, state);
      }
    },
    async meaning(error) {
      if (error instanceof TaskError) return error;
      if (!isServiceError(error)) {
        return new TaskError("internal", messageOf(error));
      }
      if (isMeant(error)) return fromStatus(error);
      // Neither side sends messages of that size: it is the page of a web server.
      if (error.code === status.RESOURCE_EXHAUSTED) return taskErrorOf(notACoordinator(address));
      if (!brokenStatuses.has(error.code)) return fromStatus(error);
      if (closed) return unavailable(`The connection to "${address}" was closed`);
      return await finding() ??
        unavailable(`The connection to "${address}" broke (${error.details})`);
    },
    close() {
      closed = true;
      closing.abort();
      channel.close();
    },
  };
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

/** A call that every coordinator answers at once. */
function prober(address: string, channel: Channel): () => Promise<unknown> {
  const health = new HealthClient(address, ChannelCredentials.createInsecure(), {
    channelOverride: channel, // which has its own credentials
  });
  return () =>
    new Promise<void>((resolve, reject) => {
      const options = { deadline: Date.now() + keepaliveTimes.answerMs };
      health.check({ service: "" }, new Metadata(), options, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
}

/** Statuses that gRPC gives to calls whose connection failed. */
const brokenStatuses: ReadonlySet<status> = new Set([
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  // Of a call that was cut off without a status, or while this side was writing.
  status.INTERNAL,
]);

/** How long one diagnosis answers the calls that fail. */
const sameFindingMs = 1000;

/** Settles with a new state, or soon: a signal or the end of the time may have come. */
function stateChange(channel: Channel, state: connectivityState): Promise<void> {
  return new Promise((resolve) => {
    channel.watchConnectivityState(state, Date.now() + 250, () => resolve());
  });
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "details" in error && "metadata" in error;
}

/** A call whose answers are read one by one. */
type Answers<Response> = AsyncIterable<Response> & { cancel(): void };

type Callback<Response> = (error: ServiceError | null, response?: Response) => void;

/** A unary call with its deadline. */
export async function ask<Request, Response>(
  dialled: Dialled,
  method: (
    request: Request,
    metadata: Metadata,
    options: { deadline: number },
    callback: Callback<Response>,
  ) => unknown,
  metadata: Metadata,
  request: Request,
): Promise<Response> {
  await dialled.ready().catch((error) => {
    throw error instanceof TaskError ? unsent(error) : error;
  });
  try {
    return await new Promise<Response>((resolve, reject) => {
      const options = { deadline: Date.now() + callTimes.answerMs };
      method(request, metadata, options, (error, response) => {
        if (error !== null) reject(error);
        else resolve(response as Response);
      });
    });
  } catch (error) {
    throw await dialled.meaning(error);
  }
}

/** The same error, of a call that had no connection to be sent over. */
function unsent({ code, message, next, cause }: TaskError): TaskError {
  return new TaskError(code, message, undefined, { next, cause, unsent: true });
}

/** Reads a stream of answers to its end; ends quietly when the signal aborts. */
export async function* read<Response>(
  dialled: Dialled,
  open: () => Answers<Response>,
  signal?: AbortSignal,
): AsyncGenerator<Response> {
  if (signal?.aborted) return;
  await dialled.ready(signal);
  const call = open();
  const cancel = () => call.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  let over = false;
  try {
    for await (const response of call) yield response as Response;
    over = true;
  } catch (error) {
    over = true;
    if (signal?.aborted) return;
    throw await dialled.meaning(error);
  } finally {
    signal?.removeEventListener("abort", cancel);
    // The caller needs no more.
    if (!over) call.cancel();
  }
}

/** Bytes on their way to a reader, which acknowledges each quarter that it has read. */
const readWindowBytes = 2 * 1024 * 1024;

/**
 * Reads bytes at the pace of the caller: the coordinator never has more than the window on its way.
 *
 * @param request a message of the call: the first one with what is asked for, or a later one.
 */
export async function* readBytes<Request, Response extends { data: Uint8Array }>(
  dialled: Dialled,
  open: () => ClientDuplexStream<Request, Response>,
  request: (window: ReadWindow) => Request,
  signal: AbortSignal,
): AsyncGenerator<Response> {
  let call: ClientDuplexStream<Request, Response> | undefined;
  const start = () => {
    call = open();
    call.write(request({ bytes: BigInt(readWindowBytes), read: 0n }));
    return call;
  };
  let bytes = 0;
  let acknowledged = 0;
  for await (const response of read(dialled, start, signal)) {
    const isLast = response.data.length === 0;
    if (!isLast) yield response;
    bytes += response.data.length;
    if (!isLast && bytes - acknowledged < readWindowBytes / 4) continue;
    acknowledged = bytes;
    call?.write(request({ bytes: 0n, read: BigInt(bytes) }));
  }
}
