/** The REST API of a node as the command line calls it. */
import type { Clock } from "../base/clock.ts";
import { joinHost } from "../base/address.ts";
import { messageOf, UserError, type UserErrorOptions } from "../base/errors.ts";
import { peerClient, type PeerQuestion, type PeerTrust } from "./peer_client.ts";

export interface NodeClientOptions {
  /** `https://host:port`. */
  url: string;
  token: () => string;
  /** Undefined for plain HTTP. */
  trust: PeerTrust | undefined;
  clock: Clock;
}

/** The node said no, or did not answer. */
export class NodeRefusal extends UserError {
  override name = "NodeRefusal";
  /** HTTP status; undefined where there was no answer. */
  readonly status: number | undefined;
  /** Members of the problem document. */
  readonly members: Readonly<Record<string, unknown>>;

  constructor(
    message: string,
    facts: { status?: number; members?: Record<string, unknown> },
    options: UserErrorOptions,
  ) {
    super(message, options);
    this.status = facts.status;
    this.members = facts.members ?? {};
  }
}

export interface NodeClient extends Disposable {
  /**
   * @param body bytes are sent as they are, anything else as JSON.
   * @returns the answer's JSON, undefined where it has none.
   * @throws {NodeRefusal} with what is wrong, and what to do.
   */
  call(method: PeerQuestion["method"], path: string, body?: unknown): Promise<unknown>;
  /**
   * A long answer as it comes.
   *
   * @param asked.json sent by POST; without it the question is a GET.
   * @throws {NodeRefusal} as `call`.
   */
  stream(
    path: string,
    signal: AbortSignal,
    asked?: { headers?: Record<string, string>; json?: unknown },
  ): Promise<AsyncIterable<Uint8Array>>;
}

/** Streams of logs that `task logs` follows at once (50), and some questions beside them. */
const maxSockets = 64;
/** A node answers within milliseconds; its coordinator may take a while. */
const answerMs = 30_000;
/** The cluster view of 300 nodes with all their links. */
const maxAnswerBytes = 32 * 1024 * 1024;

export function nodeClient({ url, token, trust, clock }: NodeClientOptions): NodeClient {
  const { hostname, port, protocol } = new URL(url);
  const address = joinHost(
    hostname.replace(/^\[(.*)\]$/, "$1"),
    Number(port || (protocol === "https:" ? 443 : 80)),
  );
  const client = peerClient(trust, clock, maxSockets);
  const question = (method: PeerQuestion["method"], path: string, headers = {}): PeerQuestion => ({
    method,
    path,
    headers: { authorization: `Bearer ${token()}`, ...headers },
    withinMs: answerMs,
    maxBytes: maxAnswerBytes,
  });
  const answered = async <T>(ask: Promise<T>): Promise<T> => {
    try {
      return await ask;
    } catch (error) {
      throw new NodeRefusal(`The node at "${url}" does not answer: ${messageOf(error)}`, {}, {
        code: "node_unavailable",
        next: "Is it running (agent node)? --server.url names another",
        cause: error,
      });
    }
  };
  return {
    async call(method, path, body) {
      const isBytes = body instanceof Uint8Array;
      const headers = body === undefined
        ? { "content-length": "0" }
        : { "content-type": isBytes ? "application/octet-stream" : "application/json" };
      const sent = body === undefined ? {} : { body: isBytes ? body : JSON.stringify(body) };
      const reply = await answered(
        client.ask(address, { ...question(method, path, headers), ...sent }),
      );
      const json = reply.body === "" ? undefined : parsed(reply.body);
      if (isDone(reply.status)) return json;
      throw refusalOf(url, reply.status, json);
    },
    async stream(path, signal, { headers = {}, json } = {}) {
      const asked = json === undefined ? question("GET", path, headers) : {
        ...question("POST", path, { ...headers, "content-type": "application/json" }),
        body: JSON.stringify(json),
      };
      const { status, body } = await answered(client.stream(address, asked, signal));
      if (isDone(status)) return body;
      let text = "";
      const decoder = new TextDecoder();
      for await (const chunk of body) {
        text += decoder.decode(chunk, { stream: true });
        if (text.length > maxProblemChars) break;
      }
      throw refusalOf(url, status, parsed(text));
    },
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

const maxProblemChars = 64 * 1024;

function isDone(status: number): boolean {
  return status >= 200 && status < 300;
}

function refusalOf(url: string, status: number, json: unknown): NodeRefusal {
  const members = (typeof json === "object" && json !== null ? json : {}) as Record<
    string,
    unknown
  >;
  const { detail, next } = members;
  const facts = { status, members };
  const reason = typeof detail === "string" ? detail : `it answered HTTP ${status}`;
  if (status === 401) {
    return new NodeRefusal(`The node at "${url}" does not accept the token: ${reason}`, facts, {
      code: "unauthenticated",
      next: "Name the file with its token: --server.token-file",
    });
  }
  if (typeof detail !== "string") {
    const other = url.startsWith("http:") ? "HTTPS" : "HTTP";
    return new NodeRefusal(
      `What listens at "${url}" is no node, or speaks ${other}: ${reason}`,
      facts,
      {
        code: "failed",
        next: "Name the node with its scheme and address: --server.url",
      },
    );
  }
  const code = status === 404 ? "not_found" : status === 409 ? "conflict" : "failed";
  return new NodeRefusal(reason, facts, { code, ...(typeof next === "string" ? { next } : {}) });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // Something else than a node answers there.
  }
}
