/** The cluster as users and other nodes see it. */
import type { ServerResponse } from "node:http";
import { HttpProblem } from "../../http/problem.ts";
import { type ClusterView, clusterView, type NodesView, nodesView } from "../cluster_view.ts";
import {
  addressesHeader,
  askerHeader,
  etagOf,
  type NodeAnswer,
  parseAsker,
  parseEtag,
  timeHeader,
} from "../protocol.ts";
import type { ApiContext, Node, Serve } from "./context.ts";

function currentView(node: Node): ClusterView {
  return clusterView(node.membership, node.own(), momentOf(node));
}

export function currentNodes(node: Node): NodesView {
  return nodesView(node.membership, node.own(), momentOf(node));
}

function momentOf(node: Node) {
  const { clock } = node;
  return { now: clock.monotonic(), wall: clock.now(), signOn: node.canSignOn() };
}

/** The document is made at most this often, however many clients ask. */
const textMs = 100;

const jsonType = { "content-type": "application/json" };

function jsonText(text: string): Response {
  return new Response(text, { headers: jsonType });
}

export function serveCluster(serve: Serve, node: Node): void {
  const { membership, clock } = node;
  const { version, id, name } = node.own().facts;
  const health = JSON.stringify({ status: "ok", role: "node", version, node_id: id, name });
  let text = "";
  let textAt = -Infinity;
  serve({
    "GET /api/health": () => jsonText(health),
    "GET /api/cluster": (context) => {
      if (context.req.query("links") === "false") return context.json(currentNodes(node));
      const now = clock.monotonic();
      if (now - textAt > textMs) {
        text = JSON.stringify(currentView(node));
        textAt = now;
      }
      return jsonText(text);
    },
    "DELETE /api/cluster/nodes/:id": (context) => {
      const id = context.req.param("id")!;
      const member = membership.members.get(id);
      if (member === undefined) throw new HttpProblem(404, `No other node has the id "${id}"`);
      if (membership.reach(member, clock.monotonic()) !== "unreachable") {
        throw new HttpProblem(409, `"${member.name}" is reachable, so it would come back at once`, {
          next: "Stop it first",
        });
      }
      membership.forget(id);
      textAt = -Infinity;
      node.forgotten();
      return context.body(null, 204);
    },
    "GET /api/cluster/node_local": (context) => {
      const by = parseAsker(context.req.header(askerHeader), context.req.header(addressesHeader));
      if (by !== undefined) node.asked(by, context.get("facts").source);
      const { facts } = node.own();
      const view = membership.view(facts, clock.monotonic());
      const { instance } = membership.self;
      const held = parseEtag(context.req.header("if-none-match"));
      const since = held?.instance === instance && held.revision <= view.revision
        ? held.revision
        : null;
      // In a cluster of 300 nodes each one answers this 60 times a second: leave out unused headers.
      const { outgoing } = context.env as { outgoing: ServerResponse };
      outgoing.sendDate = false;
      outgoing.removeHeader("cache-control");
      outgoing.removeHeader("x-content-type-options");
      const headers = {
        etag: etagOf({ instance, revision: view.revision }),
        [timeHeader]: String(clock.now()),
        // Without it the adapter adds a second header about how long the connection is kept.
        ...(isKept(context) ? { connection: "keep-alive" } : {}),
      };
      if (since === view.revision) return new Response(null, { status: 304, headers });
      const answer: NodeAnswer = {
        node: facts,
        revision: view.revision,
        since,
        members: view.entries(since ?? -1),
      };
      return context.json(answer, 200, headers);
    },
    "GET /api/cluster/members_local": (context) => {
      const { facts } = node.own();
      const members = [...membership.members.values()].map((member) => ({
        id: member.id,
        name: member.name,
        addresses: member.addresses,
        reachable: membership.reach(member, clock.monotonic()) === "reachable",
      }));
      const self = { id: facts.id, name: facts.name, addresses: facts.addresses, reachable: true };
      return context.json({ members: [self, ...members] });
    },
  });
}

/** Whether the caller keeps the connection open after this answer (RFC 9112, 9.3). */
function isKept(context: ApiContext): boolean {
  return !/\bclose\b/i.test(context.req.header("connection") ?? "");
}
