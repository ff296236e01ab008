/**
 * Sends requests to other nodes over HTTPS, or over HTTP if this node itself serves without TLS. Their
 * certificate must lead to our own CAs; the name is checked only with `verify_hostname`.
 */
import { Agent as PlainAgent, type IncomingMessage, request as plainRequest } from "node:http";
import { Agent as SecureAgent, request as secureRequest } from "node:https";
import { isIP, type Socket } from "node:net";
import type { DetailedPeerCertificate, PeerCertificate, TLSSocket } from "node:tls";
import { splitHost } from "../base/address.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { joinBytes } from "../base/join_bytes.ts";
import type { Certificate, Pair } from "../pki/x509/inspect.ts";
import { roleOf } from "../pki/x509/roles.ts";
import { coversName } from "../tls/verify.ts";
import type { Observed } from "./member.ts";
import { limits, timeHeader } from "./protocol.ts";
import { fingerprintHex, prove, type Proven, shownChain } from "./trust.ts";

/** The certificate that this node presents, and the CAs that it trusts. */
export interface PeerTrust {
  pair: Pair | undefined;
  /** PEM of the bundle. */
  ca: string;
  roots: Certificate[];
  verifyHostname: boolean;
}

export interface PeerQuestion {
  method: "GET" | "POST" | "PUT" | "DELETE";
  path: string;
  headers: Record<string, string>;
  body?: string | Uint8Array;
  /** Milliseconds until the end of the answer. */
  withinMs: number;
  /** Maximum bytes of the answer; default: the limit of the protocol between nodes. */
  maxBytes?: number;
  /** Called when the connection of the answer closes, unless another question has used it meanwhile. */
  closed?: () => void;
}

/** The host answers, and nothing listens on that port. */
export class RefusedError extends Error {
  override name = "RefusedError";
}

export interface PeerReply {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
  observed: Observed;
}

/** An answer that is read while it arrives, no faster than the caller reads it. */
export interface PeerStream {
  status: number;
  headers: PeerReply["headers"];
  body: AsyncIterable<Uint8Array>;
}

export interface PeerClient extends Disposable {
  /** @throws {Error} whose message says why there is no answer. */
  ask(address: string, question: PeerQuestion): Promise<PeerReply>;
  /** As `ask`, for a long answer: `withinMs` applies to its headers only. */
  stream(address: string, question: PeerQuestion, signal: AbortSignal): Promise<PeerStream>;
}

/** Connections to one node: one for ticks, one for an occasional sign-on. */
const socketsPerPeer = 2;

/**
 * @param trust undefined: without TLS.
 * @param maxSockets connections to one node at once; further questions wait.
 */
export function peerClient(
  trust: PeerTrust | undefined,
  clock: Clock,
  maxSockets = socketsPerPeer,
): PeerClient {
  const pool = { keepAlive: true, maxSockets };
  const agent = trust === undefined ? new PlainAgent(pool) : new SecureAgent(pool);
  const proven = new WeakMap<TLSSocket, ShownCertificate>();
  const provenOf = (socket: TLSSocket, trust: PeerTrust) => {
    let known = proven.get(socket);
    if (known === undefined) {
      known = shownBy(proveNode(shownChain(socket.getPeerCertificate(true)), trust, clock.now()));
      proven.set(socket, known);
    }
    return known;
  };
  const onClose = closeListeners();
  /** Sends a request. `head` resolves to the headers of the answer; `fail` aborts the request. */
  const send = (address: string, { method, path, headers, body }: PeerQuestion): Sent => {
    const { host, port } = splitHost(address);
    const options = { host, port, method, path, headers, agent };
    const request = trust === undefined
      // A name that every node is known by: the dialled one may be in no certificate and no setting.
      ? plainRequest({ ...options, headers: { host: "localhost", ...headers } })
      : secureRequest({ ...options, ...tlsOptions(trust, host, clock) });
    const head = Promise.withResolvers<IncomingMessage>();
    const fail = (reason: string, why = new Error(reason)) => {
      head.reject(why);
      request.destroy();
    };
    request.on("error", (error: Error & { code?: string }) => {
      const reason = reasonFor(error);
      fail(reason, error.code === "ECONNREFUSED" ? new RefusedError(reason) : undefined);
    });
    request.once("response", head.resolve);
    request.end(body);
    return { head: head.promise, fail };
  };
  return {
    async ask(address, question) {
      const start = clock.monotonic();
      const { head, fail } = send(address, question);
      const late = Promise.withResolvers<never>();
      const timer = setTimeout(() => {
        const reason = `No answer within ${question.withinMs / 1000} s`;
        fail(reason);
        late.reject(new Error(reason));
      }, question.withinMs);
      try {
        const response = await Promise.race([head, late.promise]);
        // The response lets go of it at its end.
        const { socket } = response;
        onClose(socket, question.closed);
        const latencyMs = clock.monotonic() - start;
        const verified = trust && provenOf(socket as TLSSocket, trust);
        const most = question.maxBytes ?? limits.answerBytes;
        const body = await Promise.race([readBounded(response, most), late.promise]);
        const { headers, statusCode: status = 0 } = response;
        // Whether a certificate is trusted is decided in the handshake: one with the CAs of then.
        if (status === 401 || status === 403) socket.destroy();
        const middle = clock.now() - latencyMs / 2;
        const clockOffsetMs = offsetOf(headers[timeHeader], middle);
        const observed = { latencyMs, clockOffsetMs, ...verified ?? withoutTls };
        return { status, headers, body, observed };
      } catch (error) {
        fail(messageOf(error));
        throw error;
      } finally {
        clearTimeout(timer);
      }
    },
    async stream(address, question, signal) {
      signal.throwIfAborted();
      return await streamed(send(address, question), question.withinMs, signal);
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}

/** Tells of the end of a connection the one who used it last. */
function closeListeners() {
  const told = new WeakMap<Socket, (() => void) | undefined>();
  return (socket: Socket, closed: (() => void) | undefined) => {
    if (!told.has(socket)) socket.once("close", () => told.get(socket)?.());
    told.set(socket, closed);
  };
}

/** A request that was sent. */
interface Sent {
  head: Promise<IncomingMessage>;
  /** Aborts it at any time. */
  fail: (reason: string) => void;
}

async function streamed(
  { head, fail }: Sent,
  withinMs: number,
  signal: AbortSignal,
): Promise<PeerStream> {
  const onAbort = () => fail("The request was aborted");
  signal.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(() => fail(`No answer within ${withinMs / 1000} s`), withinMs);
  try {
    const response = await head;
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      body: endingWith(response, () => signal.removeEventListener("abort", onAbort)),
    };
  } finally {
    clearTimeout(timer);
  }
}

async function* endingWith(body: AsyncIterable<Uint8Array>, end: () => void) {
  try {
    yield* body;
  } finally {
    end();
  }
}

/** Checks by its chain and role that a server is a node. @throws {Error} if it is not. */
function proveNode(chain: Certificate[], { roots }: PeerTrust, now: number): Proven {
  const proven = prove(chain, roots, "serverAuth", now);
  const role = roleOf(proven.certificate);
  if (role === undefined || role === "node") return proven;
  throw new Error(`Its certificate has the role "${role}", not that of a node`);
}

/**
 * The whole check is part of the handshake, so that a request, which may contain a token, is sent only
 * to a node.
 */
function tlsOptions(trust: PeerTrust, host: string, clock: Clock) {
  const { pair, ca, verifyHostname } = trust;
  return {
    ca,
    minVersion: "TLSv1.2" as const,
    // RFC 6066, section 3: only names are sent.
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(pair === undefined ? {} : { cert: pair.certPem, key: pair.keyPem }),
    checkServerIdentity: (_host: string, shown: PeerCertificate): Error | undefined => {
      try {
        const chain = shownChain(shown as DetailedPeerCertificate);
        const { certificate } = proveNode(chain, trust, clock.now());
        if (!verifyHostname || coversName(certificate, host)) return undefined;
        return new Error(`Its certificate does not cover "${host}"`);
      } catch (error) {
        return error instanceof Error ? error : new Error(String(error));
      }
    },
  };
}

type ShownCertificate = Pick<
  Observed,
  "certificateFingerprint" | "certificateNotAfter" | "caFingerprint"
>;

function shownBy({ certificate, root }: Proven): ShownCertificate {
  return {
    certificateFingerprint: fingerprintHex(certificate),
    certificateNotAfter: certificate.notAfter.getTime(),
    caFingerprint: fingerprintHex(root),
  };
}

const withoutTls: ShownCertificate = {
  certificateFingerprint: undefined,
  certificateNotAfter: undefined,
  caFingerprint: undefined,
};

async function readBounded(response: IncomingMessage, most: number): Promise<string> {
  // RFC 9110, section 15.4.5: it has no content. Most answers are of this kind.
  if (response.statusCode === 304) {
    response.resume();
    return "";
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > most) {
      throw new Error(`Its answer is longer than ${most / 1024} KiB`);
    }
    chunks.push(chunk);
  }
  return new TextDecoder().decode(joinBytes(chunks));
}

/** Its clock minus ours, in milliseconds, at the middle of the exchange. */
function offsetOf(text: string | string[] | undefined, middle: number): number | undefined {
  const theirs = typeof text === "string" && /^\d{1,16}$/.test(text) ? Number(text) : undefined;
  return theirs === undefined ? undefined : Math.round(theirs - middle);
}

/** Why a connection failed, as the node's row of the UI shows it. */
function reasonFor(error: Error & { code?: string }): string {
  const known: Record<string, string> = {
    ECONNREFUSED: "Connection refused: nothing listens on its port",
    EHOSTUNREACH: "No route to the host",
    ENETUNREACH: "No route to its network",
    ETIMEDOUT: "The connection timed out",
    ECONNRESET: "The connection was reset",
    ENOTFOUND: "Its name does not resolve",
    EAI_AGAIN: "Its name could not be resolved: DNS does not answer",
  };
  const reason = known[error.code ?? ""];
  if (reason !== undefined) return reason;
  const facts = `${error.code} ${error.message}`;
  if (untrusted.test(facts)) return "Its certificate was not issued by a CA of our bundle";
  if (/expired/i.test(facts)) return "Its certificate has expired";
  return error.message;
}

/** The errors of Deno 2.7 and 2.9 for a chain that leads to none of our CAs. */
const untrusted =
  /unknown ?issuer|unable_to_(get_issuer|verify)|unable to (get|verify)|self.signed|bad ?signature/i;
