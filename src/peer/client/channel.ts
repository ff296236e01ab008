import {
  Channel,
  ChannelCredentials,
  type ChannelOptions,
  type ClientReadableStream,
  connectivityState,
  type Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { splitHost } from "../address.ts";
import type { Loaded } from "../credentials.ts";
import { limits } from "../../tasks/limits.ts";
import { TaskError } from "../../tasks/service.ts";
import { keepaliveOptions } from "../keepalive.ts";
import type { PeerMode } from "../mode.ts";
import { fromStatus, isMeant } from "../status.ts";
import { registerNameResolver, targetOf } from "./resolver.ts";
import { TlsChannelCredentials } from "./tls.ts";

/** How long a call waits for a connection, and a unary call for its answer. */
export const callTimes = {
  /** A packet that is lost three times is sent again within 7 s (RFC 6298). */
  connectMs: 10_000,
  /** A commit on a busy disk takes far less. */
  answerMs: 30_000,
} as const;

/** One connection to one coordinator, made when it is first needed and again when it broke. */
export interface Dialled {
  readonly address: string;
  readonly channel: Channel;
  /** Settles when the connection stands; throws `TaskError` where it cannot be made. */
  ready(signal?: AbortSignal): Promise<void>;
  /** What an error of a call means to the caller. */
  meaning(error: unknown): Promise<TaskError>;
  close(): void;
}

const channelOptions: ChannelOptions = {
  ...keepaliveOptions,
  "grpc.max_receive_message_length": limits.maxMessageBytes,
  "grpc.max_send_message_length": limits.maxMessageBytes,
  // A coordinator is on the same network, and the grants name it alone: never by way of a proxy.
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
): Dialled {
  registerNameResolver();
  const { host } = splitHost(address);
  const credentials = mode.mode === "h2c"
    ? ChannelCredentials.createInsecure()
    : new TlsChannelCredentials(mode, host, loaded);
  const channel = new Channel(targetOf(address), credentials, channelOptions);
  const failure = () =>
    Promise.resolve(
      new TaskError("unavailable", `Could not connect to the coordinator at "${address}"`),
    );
  return {
    address,
    channel,
    async ready(signal) {
      const deadline = Date.now() + callTimes.connectMs;
      for (;;) {
        const state = channel.getConnectivityState(true);
        if (state === connectivityState.READY) return;
        if (state === connectivityState.TRANSIENT_FAILURE || Date.now() >= deadline) {
          throw await failure();
        }
        if (signal?.aborted) throw signal.reason;
        await new Promise<void>((resolve) => {
          const until = Math.min(deadline, Date.now() + 1000);
          channel.watchConnectivityState(state, until, () => resolve());
        });
      }
    },
    async meaning(error) {
      if (error instanceof TaskError) return error;
      if (!isServiceError(error)) {
        return new TaskError("internal", error instanceof Error ? error.message : String(error));
      }
      if (error.code === status.UNAVAILABLE && !isMeant(error)) return await failure();
      return fromStatus(error);
    },
    close: () => channel.close(),
  };
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "details" in error && "metadata" in error;
}

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
  await dialled.ready();
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

/** Reads a stream of answers to its end; ends quietly when the signal aborts. */
export async function* read<Response>(
  dialled: Dialled,
  open: () => ClientReadableStream<Response>,
  signal?: AbortSignal,
): AsyncGenerator<Response> {
  if (signal?.aborted) return;
  await dialled.ready(signal);
  const call = open();
  const cancel = () => call.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    for await (const response of call) yield response as Response;
  } catch (error) {
    if (signal?.aborted) return;
    throw await dialled.meaning(error);
  } finally {
    signal?.removeEventListener("abort", cancel);
    call.cancel();
  }
}
