/**
 * Asks one node over HTTPS, or over HTTP where this node itself serves without TLS. The certificate
 * must lead to our own CAs; names are compared only with `verify_hostname`.
 */
import { Agent as PlainAgent, type IncomingMessage, request as plainRequest } from "node:http";
import { Agent as SecureAgent, request as secureRequest } from "node:https";
import { isIP } from "node:net";
import type { PeerCertificate, TLSSocket } from "node:tls";
import { splitHost } from "../base/address.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { type Certificate, inspectCertificate, type Pair } from "../pki/x509/inspect.ts";
import { roleOf } from "../pki/x509/roles.ts";
import { coversName } from "../tls/verify.ts";
import type { Observed } from "./membership.ts";
import { limits, timeHeader } from "./protocol.ts";
import { fingerprintHex, prove, type Proven, shownChain } from "./trust.ts";

/** What this side proves itself with and believes. */
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
  body?: string;
  /** Milliseconds for all of it. */
  withinMs: number;
  /** Most bytes of the answer; without it what the protocol between nodes allows. */
  maxBytes?: number;
}

export interface PeerReply {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: string;
  observed: Observed;
}

export interface PeerClient extends Disposable {
  /** @throws {Error} whose message says why there is no answer. */
  ask(address: string, question: PeerQuestion): Promise<PeerReply>;
}

/** Of certificates, for errors. */
const source = "the certificate of the node";

/** A tick for each peer and a sign-on now and then. */
const socketsPerPeer = 2;

/** @param trust undefined: without TLS. */
export function peerClient(trust: PeerTrust | undefined, clock: Clock): PeerClient {
  const pool = { keepAlive: true, maxSockets: socketsPerPeer };
  const agent = trust === undefined ? new PlainAgent(pool) : new SecureAgent(pool);
  const proven = new WeakMap<TLSSocket, Proven>();
  const check = (socket: TLSSocket) => {
    let known = proven.get(socket);
    if (known === undefined) {
      known = prove(shownChain(socket), trust!.roots, "serverAuth", clock.now());
      const role = roleOf(known.certificate);
      if (role !== undefined && role !== "node") {
        throw new Error(`Its certificate has the role "${role}", not that of a node`);
      }
      proven.set(socket, known);
    }
    return known;
  };
  return {
    ask: (address, question) =>
      new Promise((resolve, reject) => {
        const { host, port } = splitHost(address);
        const { method, path, headers, body, withinMs } = question;
        const start = clock.monotonic();
        const options = { host, port, method, path, headers, agent };
        const request = trust === undefined
          ? plainRequest(options)
          : secureRequest({ ...options, ...tlsOptions(trust, host) });
        const fail = (reason: string) => {
          clearTimeout(late);
          reject(new Error(reason));
          request.destroy();
        };
        const late = setTimeout(() => fail(`No answer within ${withinMs / 1000} s`), withinMs);
        request.on("error", (error: Error & { code?: string }) => fail(reasonFor(error)));
        request.once("response", async (response: IncomingMessage) => {
          try {
            const latencyMs = clock.monotonic() - start;
            const verified = trust === undefined ? undefined : check(response.socket as TLSSocket);
            const text = await readBounded(response, question.maxBytes ?? limits.answerBytes);
            clearTimeout(late);
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: text,
              observed: {
                latencyMs,
                clockOffsetMs: offsetOf(response.headers[timeHeader], clock.now() - latencyMs / 2),
                certificateFingerprint: verified && fingerprintHex(verified.certificate),
                certificateNotAfter: verified?.certificate.notAfter.getTime(),
                caFingerprint: verified && fingerprintHex(verified.root),
              },
            });
          } catch (error) {
            fail(messageOf(error));
          }
        });
        request.end(body);
      }),
    [Symbol.dispose]: () => agent.destroy(),
  };
}

function tlsOptions({ pair, ca, verifyHostname }: PeerTrust, host: string) {
  return {
    ca,
    minVersion: "TLSv1.2" as const,
    // RFC 6066, section 3: only names are sent.
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(pair === undefined ? {} : { cert: pair.certPem, key: pair.keyPem }),
    checkServerIdentity: (_host: string, { raw }: PeerCertificate) =>
      !verifyHostname || (raw && coversName(inspectCertificate(raw, source), host))
        ? undefined
        : new Error(`Its certificate does not cover "${host}"`),
  };
}

async function readBounded(response: IncomingMessage, most: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > most) {
      throw new Error(`Its answer is longer than ${most / 1024} KiB`);
    }
    chunks.push(chunk);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return new TextDecoder().decode(whole);
}

/** Its clock minus ours, in milliseconds, at the middle of the exchange. */
function offsetOf(text: string | string[] | undefined, middle: number): number | undefined {
  const theirs = typeof text === "string" && /^\d{1,16}$/.test(text) ? Number(text) : undefined;
  return theirs === undefined ? undefined : Math.round(theirs - middle);
}

/** Why a connection could not be made, for the person who looks at the node's row. */
function reasonFor(error: Error & { code?: string }): string {
  const known: Record<string, string> = {
    ECONNREFUSED: "Connection refused: nothing listens on its port",
    EHOSTUNREACH: "No route to the host",
    ENETUNREACH: "No route to its network",
    ETIMEDOUT: "The connection timed out",
    ECONNRESET: "The connection was reset",
    ENOTFOUND: "Its name is not known here",
    EAI_AGAIN: "Its name could not be looked up",
  };
  const reason = known[error.code ?? ""];
  if (reason !== undefined) return reason;
  const facts = `${error.code} ${error.message}`;
  if (untrusted.test(facts)) return "Its certificate was not issued by a CA of our bundle";
  if (/expired/i.test(facts)) return "Its certificate has expired";
  return error.message;
}

/** What Deno 2.7 and 2.9 call a chain that leads to none of our CAs. */
const untrusted =
  /unknown ?issuer|unable_to_(get_issuer|verify)|unable to (get|verify)|self.signed|bad ?signature/i;
