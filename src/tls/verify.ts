import { isIP } from "node:net";
import {
  checkServerIdentity,
  type ConnectionOptions,
  type DetailedPeerCertificate,
  type TLSSocket,
} from "node:tls";
import { type Certificate, inspectCertificate, sameBytes } from "../pki/x509/inspect.ts";
import { chainOf } from "../pki/x509/validate.ts";
import type { Loaded } from "./credentials.ts";
import type { TlsMode } from "./mode.ts";

/** How this side connects: to private roots only, and to the dialled or the configured name. */
export function connectionOptions(mode: TlsMode, host: string, loaded: Loaded): ConnectionOptions {
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

/**
 * Throws unless the coordinator's certificate leads to one of our own roots. The handshake has
 * checked all else, but up to Deno 2.7 it takes given roots as well as the system's, not instead.
 */
export function checkPrivateRoot(secure: TLSSocket, { ca }: Loaded): void {
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
