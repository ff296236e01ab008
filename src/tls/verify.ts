/**
 * What a client checks of a coordinator's certificate, beyond what the runtime's TLS checks: private
 * roots only, every CA of the chain may certify and is valid now, and the name is one of the subject
 * alternative names. The runtime checks signatures, the purpose and dates of the leaf, and that the
 * coordinator holds the key.
 */
import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import type { ConnectionOptions, DetailedPeerCertificate, TLSSocket } from "node:tls";
import { PkiError } from "../pki/errors.ts";
import { type Certificate, inspectCertificate, sameBytes } from "../pki/x509/inspect.ts";
import { parseIp } from "../pki/x509/names.ts";
import { chainOf } from "../pki/x509/chain.ts";
import type { Loaded } from "./credentials.ts";
import type { TlsMode } from "./mode.ts";

/** How errors of this file name the certificate that they are about. */
const source = "the coordinator's certificate";
const callers = "the caller's certificate";

/** How this side connects: to private roots only, and to the dialled or the configured name. */
export function connectionOptions(mode: TlsMode, host: string, loaded: Loaded): ConnectionOptions {
  const name = mode.serverName ?? host;
  return {
    host: name,
    // RFC 6066, section 3: only names are sent, without a trailing dot.
    ...(isIP(name) === 0 ? { servername: name.replace(/\.$/, "") } : {}),
    ALPNProtocols: ["h2"],
    minVersion: "TLSv1.2",
    rejectUnauthorized: !mode.skipVerify,
    checkServerIdentity: (_host, { raw }) =>
      mode.skipVerify || (raw && coversName(inspectCertificate(raw, source), name))
        ? undefined
        : new Error(`The coordinator's certificate does not cover "${name}"`),
    ...(loaded.ca === undefined ? {} : { ca: loaded.ca.pem }),
    ...(loaded.pair === undefined ? {} : { cert: loaded.pair.certPem, key: loaded.pair.keyPem }),
  };
}

/**
 * Whether one of the certificate's subject alternative names is this name or address (RFC 9525,
 * section 6). The common name never counts. `*` stands for one whole label above a name of at least
 * two, as in OpenSSL.
 */
export function coversName({ hostnames, ips }: Certificate, name: string): boolean {
  const [address = ""] = name.split("%");
  if (isIP(address) !== 0) return ips.includes(parseIp(address));
  const wanted = domainToASCII(name.replace(/\.$/, ""));
  const [, above = ""] = /^[^.]+\.(.+)$/.exec(wanted) ?? [];
  const wildcard = above.includes(".") ? `*.${above}` : undefined;
  return wanted !== "" && hostnames.map((each) => each.toLowerCase().replace(/\.$/, ""))
    .some((each) => each === wanted || each === wildcard);
}

/**
 * Throws unless the coordinator's certificate leads to one of our own roots. Up to Deno 2.7 the
 * handshake also accepts the system's roots; and no version checks the dates of a root, or that the
 * CAs of a chain have keyCertSign.
 *
 * @param now milliseconds since the epoch.
 */
export function checkPresented(secure: TLSSocket, { ca }: Loaded, now: number): void {
  const [leaf, ...others] = presented(secure, source);
  if (leaf === undefined) throw new Error("The coordinator presented no certificate");
  checkChain(leaf, others, ca?.certificates ?? [], now);
}

/**
 * The same for a caller of a server with mTLS. The runtime has verified its certificate before, and
 * that it holds the key.
 *
 * @throws {PkiError} as `checkChain`.
 */
export function checkCaller(secure: TLSSocket, { ca }: Loaded, now: number): void {
  const [leaf, ...others] = presented(secure, callers);
  if (leaf === undefined) {
    throw new PkiError("no_certificate", "The caller presented no certificate");
  }
  chainOf(leaf, others, ca?.certificates ?? [], callers, { now });
}

/**
 * Finds a chain from the leaf to a root in which every CA is a valid CA now. An invalid CA is skipped if
 * another one with the same key can replace it, for example after a renewal.
 *
 * @throws {PkiError} `expired`, `not_yet_valid`, `not_a_ca` or `unsupported_key` for a CA of the only
 * chain; `bad_chain` if there is no chain.
 */
export function checkChain(
  leaf: Certificate,
  others: Certificate[],
  roots: Certificate[],
  now: number,
): void {
  chainOf(leaf, others, roots, source, { now });
}

/** The certificates that the other side presents, its own first. */
export function presented(secure: TLSSocket, name = source): Certificate[] {
  const found: Certificate[] = [];
  let next: DetailedPeerCertificate | undefined = secure.getPeerCertificate(true);
  // A root names itself as its issuer.
  while (next?.raw !== undefined && found.length < maxPresented) {
    const der = next.raw;
    if (found.some((each) => sameBytes(each.der, der))) break;
    found.push(inspectCertificate(der, name));
    next = next.issuerCertificate;
  }
  return found;
}

/** More than any real chain has. */
const maxPresented = 10;
