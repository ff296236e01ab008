/** What the routes of the API work with. */
import { joinBytes } from "../../base/join_bytes.ts";
import type { Context, Hono } from "hono"; // routes and requests; 20 KB
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import type { HttpBindings } from "@hono/node-server"; // hono over node:https, which Deno.serve is not
import { limits } from "../../tasks/limits.ts";
import type { TaskService } from "../../tasks/service.ts";
import type { EventLog } from "../../http/events.ts";
import { parseBoundedJson } from "../../http/bounded_json.ts";
import { HttpProblem } from "../../http/problem.ts";
import type { Clock } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import type { Caller, Route } from "../access.ts";
import type { CallerCertificates } from "../trust.ts";
import type { OwnFacts } from "../cluster_view.ts";
import type { Membership } from "../membership.ts";
import type { PeerClient } from "../peer_client.ts";
import type { Asker } from "../protocol.ts";
import type { RequestFacts, TrustedProxies } from "../request_facts.ts";
import type { Sessions } from "../sessions.ts";
import type { Certificate } from "../../pki/x509/inspect.ts";

/** A coordinator that did not answer, as the API says it. */
export interface Unanswered {
  coordinator: string;
  reason: string;
}

/** The node behind the API. */
export interface Node {
  membership: Membership;
  own: () => OwnFacts;
  sessions: Sessions;
  noAuth: boolean;
  tls: boolean;
  /** Where users reach this node: `https://host:port/`. */
  url: () => string;
  /** Names beside IP addresses that the `Host` header may carry. */
  hostNames: () => Iterable<string>;
  isProxy: TrustedProxies;
  certificates: CallerCertificates;
  /** CAs that client certificates are verified against; empty: bearer only. */
  roots: () => Certificate[];
  coordinators: string[];
  /** Undefined where `node.coordinators` is empty. */
  tasks: TaskService | undefined;
  /** The coordinators that were missing in the newest list of tasks or workers. */
  unanswered: () => Unanswered[];
  events: EventLog;
  client: () => PeerClient;
  /** Whether this node can prove to others that it is one. */
  canSignOn: () => boolean;
  asked: (by: Asker, remote: string) => void;
  /** A member was removed by a user. */
  forgotten: () => void;
  clock: Clock;
  log: Log;
}

export interface ApiEnv {
  Bindings: HttpBindings;
  Variables: { caller: Caller; facts: RequestFacts };
}
export type ApiContext = Context<ApiEnv>;
export type Api = Hono<ApiEnv>;
export type Handler = (context: ApiContext) => Response | Promise<Response>;

/** Registers handlers by their names in the table of access.ts. */
export type Serve = (handlers: Partial<Record<Route, Handler>>) => void;

/** Larger than any task (limits of the task contract) and any state value. */
const maxBodyBytes = 2 * 1024 * 1024;

/** @throws {HttpProblem} where the body is longer than `most` bytes. */
export async function readBytes({ env }: ApiContext, most = maxBodyBytes): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of env.incoming as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > most) throw new HttpProblem(413, `The body is larger than ${most / 1024} KiB`);
    chunks.push(chunk);
  }
  return joinBytes(chunks);
}

/** A form of a web page cannot send this type, so it cannot pose as the API's caller. */
export async function readJson(
  context: ApiContext,
  { bytes = maxBodyBytes, values }: { bytes?: number; values?: number } = {},
): Promise<unknown> {
  const type = context.req.header("content-type") ?? "";
  if (!/^application\/json(;|$)/i.test(type)) {
    throw new HttpProblem(415, "The body must be JSON", {
      next: "Send content-type: application/json",
    });
  }
  try {
    return parseBoundedJson(await readBytes(context, bytes), values);
  } catch (error) {
    if (error instanceof HttpProblem) throw error;
    throw new HttpProblem(400, `The body is not valid JSON: ${messageOf(error)}`, { cause: error });
  }
}

/** A number of the query, undefined where it is not given. */
export function numberOf(context: ApiContext, name: string, most = Number.MAX_SAFE_INTEGER) {
  const text = context.req.query(name);
  if (text === undefined || text === "") return undefined;
  const value = Number(text);
  if (!/^\d{1,16}$/.test(text) || value > most) {
    throw new HttpProblem(400, `"${name}" must be a whole number up to ${most}`);
  }
  return value;
}

/** The number of an attempt in the query, undefined where it is not given. */
export function attemptOf(context: ApiContext): number | undefined {
  return numberOf(context, "attempt", limits.maxAttempt);
}

export function isAttempt(value: unknown): value is number {
  return Number.isSafeInteger(value) && value as number > 0 && value as number <= limits.maxAttempt;
}

const flags: Record<string, boolean> = { true: true, 1: true, false: false, 0: false };

/** A boolean of the query, false where it is not given. What is neither is refused, not taken for no. */
export function flagOf(context: ApiContext, name: string): boolean {
  const text = context.req.query(name);
  if (text === undefined) return false;
  const value = Object.hasOwn(flags, text) ? flags[text] : undefined;
  if (value === undefined) throw new HttpProblem(400, `"${name}" must be true or false`);
  return value;
}

/** Tells the adapter that the answer is written directly, with back-pressure; see http/stream.ts. */
export function alreadySent(): Response {
  return RESPONSE_ALREADY_SENT;
}
