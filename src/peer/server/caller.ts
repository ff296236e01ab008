import { createHash } from "node:crypto";
import type { Metadata } from "@grpc/grpc-js";
import { joinHost } from "../../base/address.ts";
import { connectionHeader, connectionOf } from "../../deno/http2_sessions.ts";
import { inspectCertificate } from "../../pki/x509/inspect.ts";
import { type CertificateRole, roleOf } from "../../pki/x509/roles.ts";
import type { Identity } from "../../tasks/task.ts";
import type { PeerMode } from "../../tls/mode.ts";

/** The caller, as the connection shows it. */
export interface Caller {
  /** `host:port` */
  readonly address: string;
  /** Of the certificate that it proved to own; undefined without mTLS. */
  readonly certificate: {
    readonly subject: string;
    readonly identity: Identity;
    readonly role: CertificateRole | "unknown" | undefined;
    /** Host names and addresses that it may use, in lower case. */
    readonly names: ReadonlySet<string>;
    /** SHA-256 of the public key, in hex. */
    readonly publicKey: string;
  } | undefined;
}

interface Call {
  readonly metadata: Metadata;
  getPeer(): string;
  getAuthContext(): { sslPeerCertificate?: { raw: Uint8Array } };
}

export type CallerOf = (call: Call) => Caller;

/**
 * Determines the caller. Its certificate is read once for each connection: with Deno that takes 50 µs
 * or more, as long as a small call.
 */
export function callersOf(mode: PeerMode): CallerOf {
  const known = new WeakMap<object, Caller>();
  return (call) => {
    const connection = connectionOf(String(call.metadata.get(connectionHeader)[0]));
    const found = connection && known.get(connection);
    if (found !== undefined) return found;
    const caller: Caller = {
      address: written(call.getPeer()),
      // Without mTLS no certificate is requested, and none would be verified.
      certificate: mode.mode === "mtls" ? certificateOf(call) : undefined,
    };
    if (connection !== undefined) known.set(connection, caller);
    return caller;
  };
}

function certificateOf(call: Call): Caller["certificate"] {
  const der = call.getAuthContext().sslPeerCertificate?.raw;
  if (der === undefined) return undefined;
  const certificate = inspectCertificate(der);
  const names = [...certificate.hostnames, ...certificate.ips];
  return {
    subject: certificate.subject,
    identity: {
      name: certificate.commonName ?? certificate.subject,
      fingerprint: certificate.fingerprint.replaceAll(":", "").toLowerCase(),
    },
    role: roleOf(certificate),
    names: new Set(names.map((name) => name.toLowerCase())),
    publicKey: createHash("sha256").update(certificate.publicKey).digest("hex"),
  };
}

/** Formats gRPC's address, which has the port after any IP; a listener on `::` maps IPv4 into IPv6. */
function written(peer: string): string {
  const colon = peer.lastIndexOf(":");
  return joinHost(
    peer.slice(0, colon).replace(/^::ffff:(?=[\d.]+$)/, ""),
    Number(peer.slice(colon + 1)),
  );
}
