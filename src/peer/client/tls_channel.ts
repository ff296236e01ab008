import { CallCredentials, ChannelCredentials, experimental } from "@grpc/grpc-js";
import type { Socket } from "node:net";
import { connect } from "node:tls";
import type { Clock } from "../../base/clock.ts";
import type { Loaded } from "../../tls/credentials.ts";
import type { TlsMode } from "../../tls/mode.ts";
import { checkPresented, connectionOptions } from "../../tls/verify.ts";

/**
 * Channel credentials that take what is loaded at the moment of each connection, so that a new
 * certificate or CA is used by the next one, while those that are open stay as they are.
 */
export class TlsChannelCredentials extends ChannelCredentials {
  constructor(
    readonly mode: TlsMode,
    /** The dialled host, which the certificate must cover unless another name is configured. */
    readonly host: string,
    readonly loaded: () => Loaded,
    readonly clock: Clock,
  ) {
    super();
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(
    _target: unknown,
    _options: unknown,
    callCredentials?: CallCredentials,
  ): experimental.SecureConnector {
    return {
      connect: async (socket) => ({ socket: await this.#secure(socket), secure: true }),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => callCredentials ?? CallCredentials.createEmpty(),
      destroy: () => {},
    };
  }

  #secure(socket: Socket): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const secure = connect({ socket, ...connectionOptions(this.mode, this.host, this.loaded()) });
      const closed = () => reject(new Error("The connection was closed during the handshake"));
      secure.once("close", closed);
      // It stays: a refusal may come after the handshake, before there is another listener.
      secure.on("error", reject);
      secure.once("secureConnect", () => {
        secure.off("close", closed);
        try {
          if (!this.mode.skipVerify) checkPresented(secure, this.loaded(), this.clock.now());
          resolve(secure);
        } catch (error) {
          secure.destroy();
          reject(error);
        }
      });
    });
  }
}
