import type { Socket } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import type { Clock } from "../base/clock.ts";
import { type Certificate, extendedUsage, sameBytes } from "../pki/x509/inspect.ts";
import { chainOf, mayUse } from "../pki/x509/validate.ts";
import { splitHost } from "../base/address.ts";
import type { Loaded } from "./credentials.ts";
import type { PeerMode, TlsMode } from "./mode.ts";
import { answerTo, probeTcp, probeTls } from "./probe.ts";

/** What keeps a client from a coordinator. */
export type DiagnosisCode =
  | "name_not_found"
  | "refused"
  | "unreachable"
  | "timeout"
  | "plaintext_to_tls"
  | "tls_to_plaintext"
  | "not_a_coordinator"
  | "handshake_failed"
  | "foreign_ca"
  | "server_expired"
  | "server_not_yet_valid"
  | "server_usage"
  | "name_mismatch"
  | "client_certificate_missing"
  | "client_certificate_expired"
  | "client_certificate_usage"
  | "client_certificate_refused";

/** A connection that cannot be made: the message says why, `next` what to do about it. */
export class ConnectionError extends Error {
  override name = "ConnectionError";
  constructor(readonly diagnosis: DiagnosisCode, message: string, readonly next: string) {
    super(message);
  }
  /** Whether this side's own certificate is the cause, and not the way to the coordinator. */
  get isUnauthenticated(): boolean {
    return this.diagnosis.startsWith("client_certificate");
  }
}

/**
 * Dials a coordinator once more, looking at each step, because gRPC only says that it could not
 * connect. It sends nothing but the opening of HTTP/2, and believes nothing that it is told.
 *
 * @returns undefined where nothing is wrong (any more).
 */
export async function diagnose(
  address: string,
  mode: PeerMode,
  loaded: Loaded,
  clock: Clock,
): Promise<ConnectionError | undefined> {
  const { host, port } = splitHost(address);
  const found = finding(address);
  const tcp = await probeTcp(host, port);
  if ("failure" in tcp) return found(...tcpFailure(host, tcp.failure));
  if (mode.mode === "h2c") return await plaintext(found, tcp.socket, host, port);
  tcp.socket.destroy();
  return await secured(found, host, port, mode, loaded, clock);
}

/** For an answer that no coordinator gives; web servers speak HTTP/2 as well. */
export function notACoordinator(address: string): ConnectionError {
  return finding(address)(...stranger);
}

type Found = (code: DiagnosisCode, what: string, next: string) => ConnectionError;

function finding(address: string): Found {
  return (code, what, next) =>
    new ConnectionError(
      code,
      `Could not connect to the coordinator at "${address}": ${what}`,
      next,
    );
}

function tcpFailure(host: string, code: string): [DiagnosisCode, string, string] {
  switch (code) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "EAI_NODATA":
    case "EAI_NONAME":
      return ["name_not_found", `the name "${host}" is not known`, `getent hosts ${host}`];
    case "ECONNREFUSED":
      return [
        "refused",
        "nothing listens there",
        "Start agent coordinator there (for other hosts with --coordinator.host=0.0.0.0), or set " +
        "client.coordinators or worker.coordinators to where it runs",
      ];
    case "ETIMEDOUT":
      return [
        "timeout",
        "no answer in time",
        "Check that the host is up and that no firewall drops this port",
      ];
    default:
      return ["unreachable", `the network says ${code}`, `Check the address, and the route to it`];
  }
}

const silent: [DiagnosisCode, string, string] = [
  "timeout",
  "it accepts connections but does not answer",
  "Look at its log; a stopped or overloaded process does that",
];

async function plaintext(found: Found, socket: Socket, host: string, port: number) {
  const answer = await answerTo(socket);
  if (answer === "http2") return undefined;
  if (answer === "silence") return found(...silent);
  const tls = await probeTls({ host, port, rejectUnauthorized: false });
  if ("failure" in tls) return found(...stranger);
  tls.socket.destroy();
  return found(
    "plaintext_to_tls",
    "it speaks TLS, and this side plaintext",
    "Add --peer.insecure=false, or for good: peer: { insecure: false } in config.yaml; " +
      "the CA comes from agent tls install, or from --peer.client-ca-file",
  );
}

const stranger: [DiagnosisCode, string, string] = [
  "not_a_coordinator",
  "what listens there does not speak gRPC",
  "Check the port: a coordinator's is 50055 unless it was told otherwise",
];

async function secured(
  found: Found,
  host: string,
  port: number,
  mode: TlsMode,
  loaded: Loaded,
  clock: Clock,
): Promise<ConnectionError | undefined> {
  const name = mode.serverName ?? host;
  const tls = await probeTls({ host, port, name, pair: loaded.pair, rejectUnauthorized: false });
  if ("failure" in tls) {
    const tcp = await probeTcp(host, port);
    const answer = "failure" in tcp ? "nothing" : await answerTo(tcp.socket);
    if (answer === "http2") {
      return found(
        "tls_to_plaintext",
        "it speaks plaintext, and this side TLS",
        "Start it with --peer.insecure=false and a certificate, for example from agent tls init",
      );
    }
    if (tls.failure === "ETIMEDOUT") return found(...silent);
    return found(
      "handshake_failed",
      `the TLS handshake failed (${tls.failure})`,
      "Check that the port is a coordinator's, and both sides' certificates with agent tls status",
    );
  }
  const { socket, chain, leaf } = tls;
  const answer = await answerTo(socket);
  const server = mode.skipVerify ? undefined : serverFault(found, chain, leaf, name, loaded, clock);
  if (server !== undefined) return server;
  if (answer === "http2") return undefined;
  if (answer === "silence") return found(...silent);
  return clientFault(found, loaded.pair?.certificate, clock);
}

/** What is wrong with the coordinator's certificate, in the order in which it should be mended. */
function serverFault(
  found: Found,
  [leaf, ...others]: Certificate[],
  names: PeerCertificate,
  name: string,
  { ca }: Loaded,
  clock: Clock,
): ConnectionError | undefined {
  // A server always shows one; the connection was closed again before it could be looked at.
  if (leaf === undefined) return undefined;
  const roots = ca?.certificates ?? [];
  if (!isTrusted(leaf, others, roots)) {
    const sameName = roots.some((root) => sameBytes(root.subjectDer, leaf.issuerDer));
    const ours = roots.map((root) => `"${root.subject}"`).join(", ") || "none";
    return found(
      "foreign_ca",
      `its certificate was issued by "${leaf.issuer}", ` +
        (sameName ? "with another key than that CA has here" : `and this side trusts ${ours}`),
      "Fetch the CA with agent tls export-ca on the coordinator's side; then agent tls install " +
        "--ca FILE, or --peer.client-ca-file=FILE for this once",
    );
  }
  if (leaf.notAfter.getTime() < clock.now()) {
    return found(
      "server_expired",
      `its certificate expired on ${leaf.notAfter.toISOString()}`,
      "agent tls renew (on the coordinator's host)",
    );
  }
  if (leaf.notBefore.getTime() > clock.now()) {
    return found(
      "server_not_yet_valid",
      `its certificate is valid only from ${leaf.notBefore.toISOString()}`,
      "Check the clocks of both hosts",
    );
  }
  if (!mayUse(leaf, extendedUsage.serverAuth)) {
    return found(
      "server_usage",
      "its certificate is not meant for servers",
      "Give the coordinator a certificate with the extended key usage serverAuth",
    );
  }
  if (checkServerIdentity(name, names) !== undefined) {
    const covered = [...leaf.hostnames, ...leaf.ips].join(", ") || "no name at all";
    return found(
      "name_mismatch",
      `its certificate covers ${covered}, not "${name}"`,
      `Dial one of those names, set --peer.server-name, or issue a certificate that covers "${name}"`,
    );
  }
  return undefined;
}

function isTrusted(leaf: Certificate, others: Certificate[], roots: Certificate[]): boolean {
  try {
    chainOf(leaf, others, roots, "the coordinator's certificate");
    return true;
  } catch {
    // Whatever it is: nothing of ours vouches for it.
    return false;
  }
}

/** Why a coordinator ends the connection right after the handshake. */
function clientFault(found: Found, own: Certificate | undefined, clock: Clock): ConnectionError {
  if (own === undefined) {
    return found(
      "client_certificate_missing",
      "it wants a client certificate (mTLS), and this side has none",
      "Set --peer.cert-file and --peer.key-file; agent tls mint makes a pair",
    );
  }
  if (own.notAfter.getTime() < clock.now()) {
    return found(
      "client_certificate_expired",
      `this side's certificate "${own.subject}" expired on ${own.notAfter.toISOString()}`,
      "agent tls status (on this host) says how to get a new one",
    );
  }
  if (!mayUse(own, extendedUsage.clientAuth)) {
    return found(
      "client_certificate_usage",
      `this side's certificate "${own.subject}" is not meant for clients`,
      "Use a certificate with the extended key usage clientAuth; agent tls mint makes one",
    );
  }
  return found(
    "client_certificate_refused",
    `it refuses this side's certificate "${own.subject}", issued by "${own.issuer}"`,
    "Use a certificate of the CA in the coordinator's peer.client_ca_file, or add this CA there",
  );
}
