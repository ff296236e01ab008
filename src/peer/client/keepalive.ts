import { type ChannelCredentials, type ServiceError, status } from "@grpc/grpc-js";
import type { Socket } from "node:net";
import { every } from "../../base/lifetimes.ts";
import type { Clock } from "../../base/clock.ts";

/** The open connections of one channel; gRPC has no way to reach them. */
export class Connections {
  readonly #open = new Set<Socket>();

  /** Lets the credentials report each connection that they are used for. */
  follow(credentials: ChannelCredentials): ChannelCredentials {
    const make = credentials._createSecureConnector.bind(credentials);
    credentials._createSecureConnector = (...args) => {
      const connector = make(...args);
      return {
        connect: (socket) => {
          this.#open.add(socket);
          socket.once("close", () => this.#open.delete(socket));
          return connector.connect(socket);
        },
        waitForReady: () => connector.waitForReady(),
        getCallCredentials: () => connector.getCallCredentials(),
        destroy: () => connector.destroy(),
      };
    };
    return credentials;
  }

  /** Ends them; the calls on them fail at once, and the next ones dial again. */
  cut(): void {
    for (const socket of this.#open) socket.destroy();
  }
}

export interface KeepaliveOptions {
  periodMs: number;
  connected: () => boolean;
  /** Asks the other side for any answer; throws gRPC's error. */
  probe: () => Promise<unknown>;
  cut: () => void;
  clock: Clock;
  signal: AbortSignal;
}

/**
 * Closes connections that no longer answer, found by calls of our own: the pings of HTTP/2 do not work on
 * every version of Deno. Otherwise a client that follows a task would wait as long as the system keeps
 * trying to send, and new calls would use the same dead connection.
 */
export async function keepAlive(options: KeepaliveOptions): Promise<void> {
  const { periodMs, connected, probe, cut, clock, signal } = options;
  await every({ periodMs, clock, signal, failed: () => {} }, async () => {
    if (!connected()) return;
    try {
      await probe();
    } catch (error) {
      // Any other status is an answer.
      if ((error as ServiceError).code === status.DEADLINE_EXCEEDED && !signal.aborted) cut();
    }
  });
}
