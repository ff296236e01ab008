/** Who calls, and whether it may. */
import { getCookie } from "hono/cookie";
import type { TLSSocket } from "node:tls";
import { HttpProblem } from "../../http/problem.ts";
import { type Caller, isAllowed, type Route, routes } from "../access.ts";
import { factsOf, isOwnHost, isOwnOrigin } from "../request_facts.ts";
import type { ApiContext, Node } from "./context.ts";

/**
 * Named by node, so that two nodes on one host do not log each other out: cookies do not tell ports
 * apart. The prefix binds it to exactly this host (RFC 6265bis, 4.1.3.2), which needs `Secure`.
 */
export function cookieName(node: Node, secure: boolean): string {
  return `${secure ? "__Host-" : ""}agent-${node.own().facts.id.slice(0, 8)}`;
}

/**
 * Checks a request before its route: the `Host` header, the `Origin` of a change, the caller.
 * The first two hold without authentication too, or any web page could run commands.
 *
 * @throws {HttpProblem} where the route is not for this caller.
 */
export function authorize(context: ApiContext, route: Route | undefined, node: Node): void {
  const facts = factsOf(context.env.incoming, node.isProxy);
  context.set("facts", facts);
  const certificate = certificateCaller(context, node);
  if (certificate.kind !== "peer" && !isOwnHost(facts.host, node.hostNames)) {
    throw new HttpProblem(421, `This node is not known as "${facts.host ?? ""}"`, {
      next: "Use its IP address, or add the name to node.allowed_hosts",
    });
  }
  const isChange = !["GET", "HEAD", "OPTIONS"].includes(context.req.method);
  if (isChange && !isOwnOrigin(context.req.header("origin"), facts)) {
    throw new HttpProblem(403, "A page of another site may not make changes here");
  }
  if (route === undefined) return;
  const caller = callerOf(context, node, certificate);
  context.set("caller", caller);
  if (isAllowed(routes[route].access, caller)) return;
  const reason = caller.kind === "anonymous"
    ? caller.reason
    : "The certificate of a node does not open this path; send the bearer token";
  throw new HttpProblem(401, reason, {
    next: "agent token url (on the node) opens the UI; programs send Authorization: Bearer",
    headers: { "www-authenticate": "Bearer" },
  });
}

function certificateCaller({ env }: ApiContext, node: Node) {
  const socket = env.incoming.socket as TLSSocket;
  const roots = node.roots();
  if (socket.encrypted !== true || roots.length === 0) return { kind: "none" } as const;
  return node.certificates.of(socket, roots, node.clock.now());
}

function callerOf(
  context: ApiContext,
  node: Node,
  certificate: ReturnType<typeof certificateCaller>,
): Caller {
  if (node.noAuth) return { kind: "user" };
  const { source, secure } = context.get("facts");
  const session = getCookie(context, cookieName(node, secure));
  if (session !== undefined && node.sessions.isOpen(session)) return { kind: "user", session };
  const [scheme, token] = (context.req.header("authorization") ?? "").split(/ +/);
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

/** @throws {HttpProblem} where the address has tried too many wrong tokens. */
export function checkGuess(node: Node, source: string): void {
  const waitMs = node.sessions.waitMs(source);
  if (waitMs === 0) return;
  throw new HttpProblem(429, "Too many wrong tokens came from this address", {
    headers: { "retry-after": String(Math.ceil(waitMs / 1000)) },
  });
}
