/** Whom certificates make a member of the cluster, on both sides of a connection. */
import { createHash } from "node:crypto";
import type { DetailedPeerCertificate, TLSSocket } from "node:tls";
import {
  type Certificate,
  extendedUsage,
  inspectCertificate,
  sameBytes,
} from "../pki/x509/inspect.ts";
import { roleOf } from "../pki/x509/roles.ts";
import { checkDates, mayUse } from "../pki/x509/validate.ts";
import { messageOf } from "../base/errors.ts";
import { chainOf } from "../pki/x509/chain.ts";

/** What the other side of a connection has proved. */
export interface Proven {
  certificate: Certificate;
  /** The CA of our bundle that the chain leads to. */
  root: Certificate;
}

/** The certificates that the other side has shown, its own first; empty for none. */
export function shownChain(shown: DetailedPeerCertificate | undefined): Certificate[] {
  const found: Certificate[] = [];
  let next = shown;
  // A root names itself as its issuer.
  while (next?.raw !== undefined && found.length < mostShown) {
    const der = next.raw;
    if (found.some((each) => sameBytes(each.der, der))) break;
    found.push(inspectCertificate(der, "the certificate of the other side"));
    next = next.issuerCertificate;
  }
  return found;
}

/** More than any chain that is meant. */
const mostShown = 10;

/**
 * Checks that a chain leads to one of our own CAs, for that purpose and now; names are not compared.
 * The TLS library has checked the signatures of the handshake; that alone is not enough, since
 * Deno 2.7 also takes the system's CAs and calls a connection without a certificate authorized.
 *
 * @throws {PkiError} with what is wrong.
 */
export function prove(
  chain: Certificate[],
  roots: Certificate[],
  purpose: "serverAuth" | "clientAuth",
  now: number,
): Proven {
  const [certificate, ...others] = chain;
  if (certificate === undefined) throw new Error("It presented no certificate");
  const source = "the certificate of the other side";
  const whole = chainOf(certificate, others, roots, source, {
    now,
    purpose: extendedUsage[purpose],
  });
  checkDates(certificate, source, now);
  if (!mayUse(certificate, extendedUsage[purpose])) {
    const what = purpose === "serverAuth" ? "servers" : "clients";
    throw new Error(`Its certificate "${certificate.subject}" is not for ${what}`);
  }
  return { certificate, root: whole.at(-1)! };
}

/** Whether a certificate makes its owner a peer, and if not, why. */
export type CertificateCaller =
  | { kind: "none" }
  | { kind: "peer"; certificate: Certificate }
  | { kind: "refused"; reason: string };

/** Judges the client certificate of a connection, once for each set of CAs. */
export class CallerCertificates {
  readonly #chains = new WeakMap<TLSSocket, Certificate[]>();

  of(socket: TLSSocket, roots: Certificate[], now: number): CertificateCaller {
    try {
      let chain = this.#chains.get(socket);
      if (chain === undefined) {
        chain = shownChain(socket.getPeerCertificate(true));
        this.#chains.set(socket, chain);
      }
      if (chain.length === 0) return { kind: "none" };
      const { certificate } = prove(chain, roots, "clientAuth", now);
      if (!socket.authorized) return { kind: "refused", reason: "The handshake did not verify it" };
      const role = roleOf(certificate);
      if (role === undefined || role === "node") return { kind: "peer", certificate };
      return { kind: "refused", reason: `Its role "${role}" is not that of a node` };
    } catch (error) {
      return { kind: "refused", reason: messageOf(error) };
    }
  }
}

/** SHA-256 in lower-case hex without colons, as the API shows it. */
export function fingerprintHex(certificate: Certificate): string {
  return createHash("sha256").update(certificate.der).digest("hex");
}
