/** Login, logout, and login URLs. */
import * as v from "valibot";
import { setCookie } from "hono/cookie";
import { HttpProblem } from "../../http/problem.ts";
import { checkGuess, cookieName } from "./authorize.ts";
import { type ApiContext, type Node, readJson, type Serve } from "./context.ts";

/** Of the banner and `agent token url`: the time to walk over to another screen. */
export const loginMs = 10 * 60_000;
/** Of the sidebar's sign-on, which a browser follows at once. */
const peerLoginMs = 60_000;
/** As long as a session that is not used. */
const cookieSeconds = 7 * 86_400;

/** A token or a node id, from callers who may be anybody. */
const maxBodyBytes = 1024;

const tokenBody = v.object({ token: v.pipe(v.string(), v.maxLength(200)) });
const peerBody = v.object({ node_id: v.pipe(v.string(), v.maxLength(64)) });

export function serveSession(serve: Serve, node: Node): void {
  serve({
    "GET /api/session": (context) => {
      const { facts } = node.own();
      return context.json({
        node_id: facts.id,
        name: facts.name,
        cluster: facts.cluster,
        version: facts.version,
        tls: node.tls,
        no_auth: node.noAuth,
        coordinators: node.coordinators,
      });
    },
    "POST /api/session": async (context) => {
      const body = v.safeParse(tokenBody, await readJson(context, { bytes: maxBodyBytes }));
      if (!body.success) throw new HttpProblem(400, 'The body must be {"token": "…"}');
      if (!logIn(context, node, body.output.token)) {
        throw new HttpProblem(401, "The token is wrong, was used already, or has expired", {
          next: "agent token url (on the node)",
          headers: { "www-authenticate": "Bearer" },
        });
      }
      return context.body(null, 204);
    },
    "DELETE /api/session": (context) => {
      const caller = context.get("caller");
      if (caller.kind === "user" && caller.session !== undefined) {
        node.sessions.close(caller.session);
      }
      giveCookie(context, node, "", 0);
      return context.body(null, 204);
    },
    "POST /api/session/url": (context) => context.json(loginUrl(node, loginMs)),
    "POST /api/cluster/session_local": (context) => context.json(loginUrl(node, peerLoginMs)),
    "POST /api/cluster/peer_session": async (context) => {
      const body = v.safeParse(peerBody, await readJson(context, { bytes: maxBodyBytes }));
      if (!body.success) throw new HttpProblem(400, 'The body must be {"node_id": "…"}');
      return context.json({ url: await peerUrl(node, body.output.node_id) });
    },
  });
}

/** `…/?token=…` for one use. */
export function loginUrl(node: Node, ms: number): { url: string; expires_at: string } {
  const { token, expiresAt } = node.sessions.newLogin(ms);
  const url = node.noAuth ? node.url() : `${node.url()}?token=${token}`;
  return { url, expires_at: new Date(expiresAt).toISOString() };
}

/** Turns a bearer or login token into a session. @returns whether it did. */
export function logIn(context: ApiContext, node: Node, token: string): boolean {
  const { source } = context.get("facts");
  checkGuess(node, source);
  const session = node.sessions.open(token);
  if (session === undefined) {
    node.sessions.wrongGuess(source);
    return false;
  }
  giveCookie(context, node, session, cookieSeconds);
  return true;
}

function giveCookie(context: ApiContext, node: Node, session: string, maxAge: number): void {
  const { secure } = context.get("facts");
  setCookie(context, cookieName(node, secure), session, {
    path: "/",
    httpOnly: true,
    sameSite: "Strict",
    secure,
    maxAge,
  });
}

/** Asks a peer for a login URL, and shows that our own certificate is that of a node. */
async function peerUrl(node: Node, id: string): Promise<string> {
  const member = node.membership.members.get(id);
  if (member === undefined) throw new HttpProblem(404, `No node has the id "${id}"`);
  const address = member.good;
  if (!node.canSignOn() || address === undefined) {
    throw new HttpProblem(409, `This node cannot sign on to "${member.name}"`, {
      next: "Both need TLS with certificates of one CA; else log in there: agent token url",
    });
  }
  let reply;
  try {
    reply = await node.client().ask(address, {
      method: "POST",
      path: "/api/cluster/session_local",
      headers: { "content-length": "0" },
      withinMs: 5_000,
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HttpProblem(502, `"${member.name}" does not answer: ${reason}`, { cause: error });
  }
  const login = parsedUrl(json(reply.body));
  if (reply.status !== 200 || login === undefined) {
    throw new HttpProblem(502, `"${member.name}" refused to log in (HTTP ${reply.status})`, {
      next: "On that node: agent token url",
    });
  }
  // As we reach it: the peer may not know its address as seen from here. Of what it answers only the
  // token is taken, since a browser opens this.
  const url = new URL(`${node.tls ? "https" : "http"}://${address}/`);
  const token = login.searchParams.get("token");
  // A node that runs with --no-auth gives none.
  if (token !== null) url.searchParams.set("token", token);
  return url.href;
}

/** The login URL that another node has made. */
function parsedUrl(answer: unknown): URL | undefined {
  const parsed = v.safeParse(v.object({ url: v.pipe(v.string(), v.url()) }), answer);
  return parsed.success ? new URL(parsed.output.url) : undefined;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The schema refuses it.
  }
}
