/** The REST API of a node as the command line calls it. */
import type { Clock } from "../base/clock.ts";
import { joinHost } from "../base/address.ts";
import { messageOf, UserError } from "../base/errors.ts";
import { peerClient, type PeerQuestion, type PeerTrust } from "./peer_client.ts";

export interface NodeClientOptions {
  /** `https://host:port`. */
  url: string;
  token: () => string;
  /** Undefined for plain HTTP. */
  trust: PeerTrust | undefined;
  clock: Clock;
}

export interface NodeClient extends Disposable {
  /**
   * @returns the answer's JSON, undefined where it has none.
   * @throws {UserError} with what the node says is wrong, and what to do.
   */
  call(method: PeerQuestion["method"], path: string, body?: unknown): Promise<unknown>;
}

/** A node answers within milliseconds; one that is stopped or far away may take a little longer. */
const answerMs = 10_000;
/** The cluster view of 300 nodes with all their links. */
const maxAnswerBytes = 32 * 1024 * 1024;

export function nodeClient({ url, token, trust, clock }: NodeClientOptions): NodeClient {
  const { hostname, port, protocol } = new URL(url);
  const address = joinHost(
    hostname.replace(/^\[(.*)\]$/, "$1"),
    Number(port || (protocol === "https:" ? 443 : 80)),
  );
  const client = peerClient(trust, clock);
  return {
    async call(method, path, body) {
      const text = body === undefined ? undefined : JSON.stringify(body);
      let reply;
      try {
        reply = await client.ask(address, {
          method,
          path,
          headers: {
            authorization: `Bearer ${token()}`,
            ...(text === undefined
              ? { "content-length": "0" }
              : { "content-type": "application/json" }),
          },
          withinMs: answerMs,
          maxBytes: maxAnswerBytes,
          ...(text === undefined ? {} : { body: text }),
        });
      } catch (error) {
        throw new UserError(`The node at "${url}" does not answer: ${messageOf(error)}`, {
          code: "node_unavailable",
          next: "Is it running (agent node)? --server.url names another",
          cause: error,
        });
      }
      const json = reply.body === "" ? undefined : parsed(reply.body);
      if (reply.status >= 200 && reply.status < 300) return json;
      throw refusalOf(url, reply.status, json);
    },
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

function refusalOf(url: string, status: number, json: unknown): UserError {
  const { detail, next } = (json ?? {}) as { detail?: unknown; next?: unknown };
  const reason = typeof detail === "string" ? detail : `it answered HTTP ${status}`;
  if (status === 401) {
    return new UserError(`The node at "${url}" does not accept the token: ${reason}`, {
      code: "unauthenticated",
      next: "Name the file with its token: --server.token-file",
    });
  }
  const code = status === 404 ? "not_found" : status === 409 ? "conflict" : "failed";
  return new UserError(reason, { code, ...(typeof next === "string" ? { next } : {}) });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // Something else than a node answers there.
  }
}
