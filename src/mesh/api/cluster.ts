/** The cluster as users and other nodes see it. */
import type { IncomingMessage } from "node:http";
import { HttpProblem } from "../../http/problem.ts";
import { linksOf, type NodesView, nodesView } from "../cluster_view.ts";
import { networkView } from "../network_view.ts";
import {
  addressesHeader,
  askerHeader,
  etagOf,
  formatLoad,
  loadHeader,
  type NodeAnswer,
  parseAsker,
  parseEtag,
  timeHeader,
} from "../protocol.ts";
import type { Node, Serve } from "./context.ts";
import { type DirectAnswer, type DirectHandlers, jsonAnswer } from "./direct.ts";
import { sendList } from "./streamed.ts";

export function currentNodes(node: Node): NodesView {
  return nodesView(node.membership, node.own(), momentOf(node));
}

function momentOf(node: Node) {
  const { clock } = node;
  return { now: clock.monotonic(), wall: clock.now(), signOn: node.canSignOn() };
}

/** The document is made at most this often, however many clients ask. */
const textMs = 100;
/** The document of so many nodes has 1,000 connections, and is made in a few milliseconds. */
const smallCluster = 32;

/** The answers that are asked for all the time: by probes, by programs, by every other node. */
export function clusterAnswers(node: Node): DirectHandlers {
  const { membership, clock } = node;
  const { version, id, name } = node.own().facts;
  const health = jsonAnswer(
    JSON.stringify({ status: "ok", role: "node", version, node_id: id, name }),
  );
  let made = { answer: health, at: -Infinity, members: -1 };
  return {
    "GET /api/health": () => health,
    "GET /api/cluster": () => {
      const members = membership.members.size;
      if (members > smallCluster) return undefined;
      const now = clock.monotonic();
      if (now - made.at > textMs || made.members !== members) {
        const view = { ...currentNodes(node), links: [...linksOf(membership, now)] };
        made = { answer: jsonAnswer(JSON.stringify(view)), at: now, members };
      }
      return made.answer;
    },
    "GET /api/cluster/node_local": (request, { source }) => nodeLocal(request, source, node),
  };
}

/** The question of the pull; see protocol.ts. */
function nodeLocal({ headers }: IncomingMessage, source: string, node: Node): DirectAnswer {
  const { membership, clock } = node;
  const by = parseAsker(text(headers[askerHeader]), text(headers[addressesHeader]));
  if (by !== undefined) node.asked(by, source);
  const { facts } = node.own();
  const view = membership.view(facts, clock.monotonic());
  const { instance } = membership.self;
  const held = parseEtag(headers["if-none-match"]);
  const since = held?.instance === instance && held.revision <= view.revision
    ? held.revision
    : null;
  const head = {
    etag: etagOf({ instance, revision: view.revision }),
    [timeHeader]: String(clock.now()),
    // Said here, because node:http adds for how long, which each of hundreds of nodes would send.
    ...(/\bclose\b/i.test(headers.connection ?? "") ? {} : { connection: "keep-alive" }),
  };
  if (since === view.revision) {
    return { status: 304, headers: { ...head, [loadHeader]: formatLoad(facts) }, body: "" };
  }
  const answer: NodeAnswer = {
    node: facts,
    revision: view.revision,
    since,
    members: view.entries(since ?? -1),
  };
  const { body, headers: json } = jsonAnswer(JSON.stringify(answer));
  return { status: 200, headers: { ...json, ...head }, body };
}

const same = <T>(item: T) => item;

function text(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(",") : value;
}

export function serveCluster(serve: Serve, node: Node): void {
  const { membership, clock } = node;
  serve({
    "GET /api/cluster": async (context) => {
      const view = currentNodes(node);
      const links = context.req.query("links");
      if (links === "false") return context.json(view);
      if (links === "failing") {
        return context.json(await networkView(membership, view, clock.monotonic()));
      }
      if (!["true", "", undefined].includes(links)) {
        throw new HttpProblem(400, `"links" is "true", "false" or "failing", not "${links}"`);
      }
      // Those of 300 nodes are 15 MB.
      return sendList(context, node, "links", linksOf(membership, clock.monotonic()), same, view);
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
      node.forgotten();
      return context.body(null, 204);
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
