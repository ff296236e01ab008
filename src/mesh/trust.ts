/** Whom certificates make a member of the cluster, on both sides of a connection. */
import { Buffer } from "node:buffer";
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
  /** When all of the chain is valid: milliseconds since the epoch, both included. */
  valid: { from: number; until: number };
}

/** The certificates that the other side has shown, its own first; empty for none. */
export function shownChain(shown: DetailedPeerCertificate | undefined): Certificate[] {
  const found: Certificate[] = [];
  let next = shown;
  // A root names itself as its issuer.
  while (next?.raw !== undefined && found.length < mostShown) {
    const der = next.raw;
    if (found.some((each) => sameBytes(each.der, der))) break;
    found.push(readLately(der));
    next = next.issuerCertificate;
  }
  return found;
}

/** More than any chain that is meant. */
const mostShown = 10;

/**
 * Certificates that were read lately, by their bytes. A node shows the same one in each connection, as
 * a server and as a client; its signature is verified once for each object (see chain.ts).
 */
const lately = new Map<string, Certificate>();
const mostLately = 256;

function readLately(der: Uint8Array): Certificate {
  const bytes = Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString("latin1");
  let certificate = lately.get(bytes);
  if (certificate === undefined) {
    certificate = inspectCertificate(der, "the certificate of the other side");
    if (lately.size >= mostLately) lately.delete(lately.keys().next().value!);
    lately.set(bytes, certificate);
  }
  return certificate;
}

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
  const valid = {
    from: Math.max(...whole.map(({ notBefore }) => notBefore.getTime())),
    until: Math.min(...whole.map(({ notAfter }) => notAfter.getTime())),
  };
  return { certificate, root: whole.at(-1)!, valid };
}

/** Whether a certificate makes its owner a peer, and if not, why. */
export type CertificateCaller =
  | { kind: "none" }
  | { kind: "peer"; certificate: Certificate }
  | { kind: "refused"; reason: string };

/** Judges the client certificate of a connection, once for each set of CAs and while it is valid. */
export class CallerCertificates {
  readonly #judged = new WeakMap<TLSSocket, Judged>();

  of(socket: TLSSocket, roots: Certificate[], now: number): CertificateCaller {
    const known = this.#judged.get(socket);
    if (known?.roots === roots && known.from <= now && now <= known.until) return known.caller;
    const judged = judge(socket, roots, now, known?.chain);
    this.#judged.set(socket, judged);
    return judged.caller;
  }
}

interface Judged {
  caller: CertificateCaller;
  chain: Certificate[] | undefined;
  roots: Certificate[];
  /** When it holds: milliseconds since the epoch. */
  from: number;
  until: number;
}

function judge(
  socket: TLSSocket,
  roots: Certificate[],
  now: number,
  known: Certificate[] | undefined,
): Judged {
  const always = { roots, from: -Infinity, until: Infinity };
  let chain = known;
  try {
    chain ??= shownChain(socket.getPeerCertificate(true));
    if (chain.length === 0) return { caller: { kind: "none" }, chain, ...always };
    const { certificate, valid } = prove(chain, roots, "clientAuth", now);
    const judged = { chain, roots, ...valid };
    const refused = (reason: string) => ({
      caller: { kind: "refused" as const, reason },
      ...judged,
    });
    if (!socket.authorized) return refused("The handshake did not verify it");
    const role = roleOf(certificate);
    if (role !== undefined && role !== "node") {
      return refused(`Its role "${role}" is not that of a node`);
    }
    return { caller: { kind: "peer", certificate }, ...judged };
  } catch (error) {
    // One that is not valid yet will be.
    return {
      ...always,
      until: -Infinity,
      caller: { kind: "refused", reason: messageOf(error) },
      chain,
    };
  }
}

/** SHA-256 in lower-case hex without colons, as the API shows it. */
export function fingerprintHex(certificate: Certificate): string {
  return createHash("sha256").update(certificate.der).digest("hex");
}
