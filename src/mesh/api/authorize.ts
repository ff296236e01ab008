/** Who calls, and whether it may. */
import { parse as parseCookies } from "hono/utils/cookie";
import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import { HttpProblem } from "../../http/problem.ts";
import { type Caller, isAllowed, type Route, routes } from "../access.ts";
import { factsOf, isOwnHost, isOwnOrigin, type RequestFacts } from "../request_facts.ts";
import type { Node } from "./context.ts";

/**
 * Named by node, so that two nodes on one host do not log each other out: cookies do not tell ports
 * apart. The prefix binds it to exactly this host (RFC 6265bis, 4.1.3.2), which needs `Secure`.
 */
export function cookieName(node: Node, secure: boolean): string {
  return `${secure ? "__Host-" : ""}agent-${node.own().facts.id.slice(0, 8)}`;
}

/** What is known of a request that may go on. */
export interface Authorized {
  facts: RequestFacts;
  /** Undefined outside of the table of routes. */
  caller: Caller | undefined;
}

/**
 * Checks a request before its route: the `Host` header, the `Origin` of a change, the caller.
 * The first two hold without authentication too, or any web page could run commands.
 *
 * @throws {HttpProblem} where the route is not for this caller.
 */
export function authorize(
  request: IncomingMessage,
  route: Route | undefined,
  node: Node,
): Authorized {
  const facts = factsOf(request, node.isProxy);
  const certificate = certificateCaller(request, node);
  if (certificate.kind !== "peer" && !isOwnHost(facts.host, node.hostNames)) {
    throw new HttpProblem(421, `This node is not known as "${facts.host ?? ""}"`, {
      next: "Use its IP address, or add the name to node.allowed_hosts",
    });
  }
  if (!isReading(request.method) && !isOwnOrigin(request.headers.origin, facts)) {
    throw new HttpProblem(403, "A page of another site may not make changes here");
  }
  if (route === undefined) return { facts, caller: undefined };
  const caller = callerOf(request, node, facts, certificate);
  if (isAllowed(routes[route].access, caller)) return { facts, caller };
  const reason = caller.kind === "anonymous"
    ? caller.reason
    : "The certificate of a node does not open this path; send the bearer token";
  throw new HttpProblem(401, reason, {
    next: "agent token url (on the node) opens the UI; programs send Authorization: Bearer",
    headers: { "www-authenticate": "Bearer" },
  });
}

function isReading(method: string | undefined): boolean {
  return method === "GET" || method === "HEAD" || method === "OPTIONS";
}

function certificateCaller(request: IncomingMessage, node: Node) {
  const socket = request.socket as TLSSocket;
  const roots = node.roots();
  if (socket.encrypted !== true || roots.length === 0) return { kind: "none" } as const;
  return node.certificates.of(socket, roots, node.clock.now());
}

function callerOf(
  { headers }: IncomingMessage,
  node: Node,
  { source, secure }: RequestFacts,
  certificate: ReturnType<typeof certificateCaller>,
): Caller {
  if (node.noAuth) return { kind: "user" };
  const session = sessionIn(headers.cookie, cookieName(node, secure));
  if (session !== undefined && node.sessions.isOpen(session)) return { kind: "user", session };
  const [scheme, token] = (headers.authorization ?? "").split(/ +/);
  if (scheme?.toLowerCase() === "bearer" && token !== undefined) {
    checkGuess(node, source);
    if (node.sessions.isBearer(token)) return { kind: "user" };
    node.sessions.wrongGuess(source);
    if (certificate.kind !== "peer") {
      return { kind: "anonymous", reason: "The bearer token is wrong" };
    }
  }
  if (certificate.kind === "peer") return { kind: "peer" };
  return {
    kind: "anonymous",
    reason: certificate.kind === "refused"
      ? `The client certificate does not count: ${certificate.reason}`
      : session === undefined
      ? "This needs the bearer token or a session"
      : "The session has ended",
  };
}

function sessionIn(cookies: string | undefined, name: string): string | undefined {
  return cookies === undefined ? undefined : parseCookies(cookies, name)[name];
}

/** @throws {HttpProblem} where the address has tried too many wrong tokens. */
export function checkGuess(node: Node, source: string): void {
  const waitMs = node.sessions.waitMs(source);
  if (waitMs === 0) return;
  throw new HttpProblem(429, "Too many wrong tokens came from this address", {
    headers: { "retry-after": String(Math.ceil(waitMs / 1000)) },
  });
}
