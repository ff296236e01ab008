import { CallCredentials, ChannelCredentials, experimental } from "@grpc/grpc-js";
import { isIP, type Socket } from "node:net";
import {
  checkServerIdentity,
  connect,
  type ConnectionOptions,
  type DetailedPeerCertificate,
  type TLSSocket,
} from "node:tls";
import { type Certificate, inspectCertificate, sameBytes } from "../../pki/inspect.ts";
import { chainOf } from "../../pki/validate.ts";
import type { Loaded } from "../credentials.ts";
import type { TlsMode } from "../mode.ts";

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
      // It stays: a refusal may come after the handshake, when nobody else listens yet.
      secure.on("error", reject);
      secure.once("secureConnect", () => {
        secure.off("close", closed);
        try {
          if (!this.mode.skipVerify) checkPrivateRoot(secure, this.loaded());
          resolve(secure);
        } catch (error) {
          secure.destroy();
          reject(error);
        }
      });
    });
  }
}

/**
 * Throws unless the coordinator's certificate leads to one of our own roots. The handshake has
 * checked all else, but up to Deno 2.7 it takes given roots as well as the system's, not instead.
 */
function checkPrivateRoot(secure: TLSSocket, { ca }: Loaded): void {
  const [leaf, ...others] = presented(secure);
  if (leaf === undefined) throw new Error("The coordinator presented no certificate");
  chainOf(leaf, others, ca?.certificates ?? [], "the coordinator's certificate");
}

/** The certificates that the other side has shown, its own first. */
export function presented(secure: TLSSocket): Certificate[] {
  const found: Certificate[] = [];
  let next: DetailedPeerCertificate | undefined = secure.getPeerCertificate(true);
  // A root names itself as its issuer.
  while (next?.raw !== undefined && found.length < mostPresented) {
    const der = next.raw;
    if (found.some((each) => sameBytes(each.der, der))) break;
    found.push(inspectCertificate(der, "the coordinator's certificate"));
    next = next.issuerCertificate;
  }
  return found;
}

/** More than any chain that is meant. */
const mostPresented = 10;

/** How this side connects: to private roots only, and to the dialled or the configured name. */
function connectionOptions(mode: TlsMode, host: string, loaded: Loaded): ConnectionOptions {
  const name = mode.serverName ?? host;
  return {
    host: name,
    // RFC 6066, section 3: only names are sent.
    ...(isIP(name) === 0 ? { servername: name } : {}),
    ALPNProtocols: ["h2"],
    minVersion: "TLSv1.2",
    rejectUnauthorized: !mode.skipVerify,
    checkServerIdentity: (_host, certificate) =>
      mode.skipVerify ? undefined : checkServerIdentity(name, certificate),
    ...(loaded.ca === undefined ? {} : { ca: loaded.ca.pem }),
    ...(loaded.pair === undefined ? {} : { cert: loaded.pair.certPem, key: loaded.pair.keyPem }),
  };
}
