/**
 * Explains why a connection to a coordinator fails.
 *
 * gRPC reports only that it could not connect. So the client dials once more, step by step, and observes
 * the other side. It sends only the start of HTTP/2, and trusts nothing that it receives. The steps:
 *
 * 1. The name is resolved, and each address is dialled. A refusal, a network error or silence for 3 s
 *    ends the check of this address.
 * 2. Plaintext: a coordinator answers the HTTP/2 preface with SETTINGS. One with TLS closes the connection
 *    or sends an alert, and completes a TLS handshake on the next one. Anything else is another program.
 * 3. TLS: the handshake is made without verifying, so that the certificate can be read. If it fails,
 *    and the port answers the HTTP/2 preface, the other side speaks plaintext.
 * 4. The coordinator's certificate: its chain, dates, purpose and names, in this order, because the
 *    later ones say nothing while an earlier one is wrong.
 * 5. A coordinator with mTLS that refuses our certificate does so after the handshake: on TLS 1.3 the
 *    client is done before its certificate is checked (RFC 8446, 4.4.2). The connection then ends
 *    before SETTINGS, without a reason. The cause is derived from our own certificate. If that is
 *    good, and the coordinator has the same CA, its clock must be wrong.
 *
 * The coordinator logs the same failures from its side; see refusals.ts.
 */
import type { Socket } from "node:net";
import type { Clock } from "../base/clock.ts";
import { dialableAddresses } from "../deno/host_addresses.ts";
import { NoChainError, PkiError } from "../pki/errors.ts";
import { type Certificate, extendedUsage, type Pair, sameBytes } from "../pki/x509/inspect.ts";
import { mayUse } from "../pki/x509/validate.ts";
import { splitHost } from "../base/address.ts";
import type { Loaded } from "./credentials.ts";
import type { PeerMode, TlsMode } from "./mode.ts";
import { answerTo, probeTcp, probeTls } from "./probe.ts";
import { checkChain, coversName } from "./verify.ts";

/** Why a client cannot connect to a coordinator. */
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
  | "server_chain"
  | "server_expired"
  | "server_not_yet_valid"
  | "server_usage"
  | "name_mismatch"
  | "client_certificate_missing"
  | "client_certificate_expired"
  | "client_certificate_not_yet_valid"
  | "client_certificate_usage"
  | "client_certificate_clock"
  | "client_certificate_refused";

/** A failed connection: the message says why, `next` says what to do. */
export class ConnectionError extends Error {
  override name = "ConnectionError";
  constructor(readonly diagnosis: DiagnosisCode, message: string, readonly next: string) {
    super(message);
  }
  /** Whether the coordinator refuses this side's certificate. */
  get isUnauthenticated(): boolean {
    return this.diagnosis.startsWith("client_certificate");
  }
}

/** One fault: its code, its message, and what to do. */
type Fault = [code: DiagnosisCode, what: string, next: string];

/**
 * Finds out why there is no connection. Takes up to 3 s for each step.
 *
 * @param loaded this side's certificate and the CAs that it trusts.
 * @returns undefined if nothing is wrong, or no longer.
 */
export async function diagnose(
  address: string,
  mode: PeerMode,
  loaded: Loaded,
  clock: Clock,
): Promise<ConnectionError | undefined> {
  const { host, port } = splitHost(address);
  let addresses: string[];
  try {
    addresses = await dialableAddresses(host, port);
  } catch (error) {
    const code = (error as { code?: string }).code ?? "";
    return connectionError(address, networkFault(host, code));
  }
  const found = await Promise.all(addresses.map(async (each) => {
    const tcp = await probeTcp(each, port);
    if ("failure" in tcp) return networkFault(host, tcp.failure);
    if (mode.mode === "h2c") return await plaintextFault(tcp.socket, each, port);
    tcp.socket.destroy();
    return await tlsFault(host, each, port, mode, loaded, clock);
  }));
  if (found.some((fault) => fault === undefined)) return undefined;
  return connectionError(address, summary(addresses, found as Fault[]));
}

/** For an answer that no coordinator gives: web servers speak HTTP/2 too. */
export function notACoordinator(address: string): ConnectionError {
  return connectionError(address, stranger);
}

function connectionError(address: string, [code, what, next]: Fault): ConnectionError {
  return new ConnectionError(
    code,
    `Could not connect to the coordinator at "${address}": ${what}`,
    next,
  );
}

/** Network errors say less than faults of an address that answers. */
const networkCodes: ReadonlySet<DiagnosisCode> = new Set([
  "name_not_found",
  "refused",
  "unreachable",
  "timeout",
]);

/** Names the address if there are several. */
function summary(addresses: string[], faults: Fault[]): Fault {
  const telling = faults.find(([code]) => !networkCodes.has(code)) ?? faults[0]!;
  if (faults.length === 1) return telling;
  const each = faults.map(([, what], index) => `${addresses[index]}: ${what}`);
  return [telling[0], each.join("; "), telling[2]];
}

function networkFault(host: string, code: string): Fault {
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
      return [
        "unreachable",
        `the network reports ${code}`,
        "Check the address, and the route to it",
      ];
  }
}

const silent: Fault = [
  "timeout",
  "it accepts connections but does not answer",
  "Look at its log; a stopped or overloaded process does that",
];

const stranger: Fault = [
  "not_a_coordinator",
  "what listens there does not speak gRPC",
  "Check the port: a coordinator's is 50055 unless coordinator.port is set",
];

async function plaintextFault(
  socket: Socket,
  host: string,
  port: number,
): Promise<Fault | undefined> {
  const answer = await answerTo(socket);
  if (answer === "http2") return undefined;
  if (answer === "silence") return silent;
  const tls = await probeTls({ host, port, rejectUnauthorized: false });
  if ("failure" in tls) return stranger;
  tls.socket.destroy();
  return [
    "plaintext_to_tls",
    "it speaks TLS, and this side plaintext",
    "Add --peer.insecure=false, or set peer: { insecure: false } in config.yaml; the CA comes from " +
    "agent tls install, or from --peer.client-ca-file",
  ];
}

/** @param host as it was dialled; `address` is one that it resolves to. */
async function tlsFault(
  host: string,
  address: string,
  port: number,
  mode: TlsMode,
  loaded: Loaded,
  clock: Clock,
): Promise<Fault | undefined> {
  const name = mode.serverName ?? host;
  const { pair } = loaded;
  const tls = await probeTls({ host: address, port, name, pair, rejectUnauthorized: false });
  if ("failure" in tls) return await handshakeFault(address, port, tls.failure);
  const { socket, chain } = tls;
  const answer = await answerTo(socket);
  const server = mode.skipVerify ? undefined : serverFault(chain, name, loaded, clock);
  if (server !== undefined) return server;
  if (answer === "http2") return undefined;
  if (answer === "silence") return silent;
  return clientFault(loaded, clock);
}

async function handshakeFault(address: string, port: number, failure: string): Promise<Fault> {
  const tcp = await probeTcp(address, port);
  const answer = "failure" in tcp ? "nothing" : await answerTo(tcp.socket);
  if (answer === "http2") {
    return [
      "tls_to_plaintext",
      "it speaks plaintext, and this side TLS",
      "Start it with --peer.insecure=false and a certificate, for example from agent tls init",
    ];
  }
  if (failure === "ETIMEDOUT") return silent;
  return [
    "handshake_failed",
    `the TLS handshake failed (${failure})`,
    "Check that the port is a coordinator's, and both sides' certificates with agent tls status",
  ];
}

/** What is wrong with the coordinator's certificate, in the order in which to fix it. */
function serverFault(
  [leaf, ...others]: Certificate[],
  name: string,
  loaded: Loaded,
  clock: Clock,
): Fault | undefined {
  // A server always presents one; the connection was closed before it could be read.
  if (leaf === undefined) return undefined;
  const chain = chainFault(leaf, others, loaded, clock);
  if (chain !== undefined) return chain;
  if (leaf.notAfter.getTime() < clock.now()) {
    return [
      "server_expired",
      `its certificate expired on ${leaf.notAfter.toISOString()}`,
      "agent tls renew (on the coordinator's host)",
    ];
  }
  if (leaf.notBefore.getTime() > clock.now()) {
    return notYetValid(`its certificate is valid only from ${leaf.notBefore.toISOString()}`, clock);
  }
  if (!mayUse(leaf, extendedUsage.serverAuth)) {
    return [
      "server_usage",
      "its certificate is not for servers",
      "Give the coordinator a certificate with the extended key usage serverAuth",
    ];
  }
  if (!coversName(leaf, name)) {
    const covered = [...leaf.hostnames, ...leaf.ips].join(", ") || "no name";
    return [
      "name_mismatch",
      `its certificate covers ${covered}, not "${name}"`,
      `Dial one of those names, set --peer.server-name, or issue a certificate that covers "${name}"`,
    ];
  }
  return undefined;
}

function notYetValid(what: string, clock: Clock): Fault {
  const now = new Date(clock.now()).toISOString();
  return [
    "server_not_yet_valid",
    `${what}, and the clock here says ${now}`,
    "Compare date -u on both hosts, and set the clock that is wrong",
  ];
}

function chainFault(
  leaf: Certificate,
  others: Certificate[],
  { ca }: Loaded,
  clock: Clock,
): Fault | undefined {
  const roots = ca?.certificates ?? [];
  try {
    checkChain(leaf, others, roots, clock.now());
    return undefined;
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    if (error.code === "not_yet_valid") return notYetValid(error.message, clock);
    if (error.code === "expired") {
      return [
        "server_expired",
        error.message,
        "agent tls renew --ca on the CA's host, then agent tls install --ca on each host",
      ];
    }
    // Whatever else it shows: a system's store can add CAs to what was presented.
    if (!(error instanceof NoChainError)) {
      return ["server_chain", error.message, error.next ?? "agent tls status (on both hosts)"];
    }
    return foreignCa(leaf, roots);
  }
}

function foreignCa({ issuer, issuerDer }: Certificate, roots: Certificate[]): Fault {
  const isSameName = roots.some((root) => sameBytes(root.subjectDer, issuerDer));
  const ours = roots.map((root) => `"${root.subject}"`).join(", ") || "no CA";
  return [
    "foreign_ca",
    `its certificate was issued by "${issuer}", ` +
    (isSameName ? "with another key than that CA has here" : `and this side trusts ${ours}`),
    "Fetch the CA with agent tls export-ca on the coordinator's side; then agent tls install " +
    "--ca FILE, or --peer.client-ca-file=FILE for this once",
  ];
}

/** Why a coordinator ends the connection right after the handshake. */
function clientFault({ pair, ca }: Loaded, clock: Clock): Fault {
  if (pair === undefined) {
    return [
      "client_certificate_missing",
      "it requires a client certificate (mTLS), and this side has none",
      "Set --peer.cert-file and --peer.key-file; agent tls mint makes a pair",
    ];
  }
  const { subject, issuer, notBefore, notAfter } = pair.certificate;
  const own = `this side's certificate "${subject}"`;
  if (notAfter.getTime() < clock.now()) {
    return [
      "client_certificate_expired",
      `${own} expired on ${notAfter.toISOString()}`,
      "agent tls status (on this host) says how to get a new one",
    ];
  }
  if (notBefore.getTime() > clock.now()) {
    return [
      "client_certificate_not_yet_valid",
      `${own} is valid only from ${notBefore.toISOString()}`,
      "Check this host's clock with date -u",
    ];
  }
  if (!mayUse(pair.certificate, extendedUsage.clientAuth)) {
    return [
      "client_certificate_usage",
      `${own} is not for clients`,
      "Use a certificate with the extended key usage clientAuth; agent tls mint makes one",
    ];
  }
  if (leadsTo(pair, ca?.certificates ?? [], clock)) {
    return [
      "client_certificate_clock",
      `it refuses ${own}, which is valid from ${notBefore.toISOString()} to ` +
      `${notAfter.toISOString()} and of a CA that this side trusts; the clock of the coordinator's ` +
      "host may be wrong, or it no longer trusts that CA",
      "Compare date -u on both hosts; the coordinator's log has the reason of the refusal",
    ];
  }
  return [
    "client_certificate_refused",
    `it refuses ${own}, issued by "${issuer}"`,
    "Use a certificate of the CA in the coordinator's peer.client_ca_file, or add this CA there",
  ];
}

function leadsTo({ certificate, chain }: Pair, roots: Certificate[], clock: Clock): boolean {
  try {
    checkChain(certificate, chain.slice(1), roots, clock.now());
    return true;
  } catch {
    return false; // Any reason means that these CAs do not vouch for it.
  }
}
