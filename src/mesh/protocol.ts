/**
 * The protocol between nodes, over HTTPS with mutual certificates.
 *
 * Every tick (5 s, jittered) a node asks each node that it knows, directly:
 *
 *     GET /api/cluster/node_local
 *     If-None-Match: "<instance>.<revision>"      the view that it already has
 *     Agent-Node: <id>.<instance>                 who asks, and where it can be dialled; left out
 *     Agent-Addresses: 10.0.0.1:8765, …           after an answer that nothing has changed
 *
 *     200  ETag, Agent-Time, and a NodeAnswer: the facts of the node, and of the nodes that it knows
 *          those entries that changed since the revision that was named, or all of them
 *     304  ETag, Agent-Time, Agent-Load: nothing that is stable has changed, so an idle cluster costs
 *          one small exchange for each pair of nodes and tick, whatever its size
 *
 * The certificate of the connection proves membership; the id is claimed in the answer, with the
 * random instance of this start. A node that is asked by an unknown node asks it back at once.
 * Entries about other nodes only say which nodes to ask, and what the Network page draws. Only a direct
 * answer makes a node reachable.
 *
 * When the connection to a node closes, or a question to one that is reachable fails, it is asked again
 * at once. A host that keeps refusing connections is unreachable after 3 s, a silent one 10 s after its
 * last answer.
 */
import * as v from "valibot"; // schema and type as one value, 3 KB; zod costs a start 80 ms

/** The times of the protocol, in milliseconds. */
export const times = {
  tickMs: 5_000,
  /** Share of a tick that is varied at random, so that nodes do not ask in step. */
  jitter: 0.1,
  /** A request without an answer in this time has failed. */
  answerMs: 3_000,
  /** Two ticks: one lost answer does not make a node unreachable. */
  unreachableMs: 10_000,
  /**
   * A host that answers for this long that nothing listens is unreachable sooner: a node that was
   * killed is, one that starts again is not.
   */
  refusedMs: 3_000,
  /** Time between a failed question to a reachable node and the next one. */
  againMs: 1_000,
  /** Unreachable nodes are forgotten after this time. */
  forgetMs: 30 * 86_400_000,
} as const;

export const limits = {
  /** A few hundred hosts are expected; more are an accident or an attack. */
  members: 1_000,
  addresses: 16,
  /** 1,000 entries with 16 addresses each are 600 KB. */
  answerBytes: 1024 * 1024,
} as const;

/** A UUID in lower case (RFC 9562): ids are compared as text to find the lowest. */
const id = v.pipe(v.string(), v.regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/));
const instance = v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/));
const name = v.pipe(v.string(), v.minLength(1), v.maxLength(253), v.regex(/^\P{Cc}+$/u));
/** `host:port`, IPv6 in brackets. */
const address = v.pipe(
  v.string(),
  v.maxLength(262),
  v.regex(/^(\[[0-9a-f:.]+(%[\w.-]+)?\]|[A-Za-z0-9._-]+):\d{1,5}$/),
);
const addresses = v.pipe(v.array(address), v.maxLength(limits.addresses));
const time = v.pipe(v.number(), v.integer(), v.minValue(0));
const amount = v.nullable(v.pipe(v.number(), v.minValue(0)));

/** What a node reports about itself. */
export const nodeFacts = v.object({
  id,
  instance,
  name,
  cluster: v.nullable(name),
  version: v.pipe(v.string(), v.maxLength(64), v.regex(/^\P{Cc}*$/u)),
  addresses,
  /** Milliseconds since the epoch. */
  started_at: time,
  cpu_count: amount,
  /** Average of the last minute. */
  load: amount,
  /** Bytes. */
  memory_total: amount,
  memory_available: amount,
});
export type NodeFacts = v.InferOutput<typeof nodeFacts>;

/** What a node says of another. */
export const viewEntry = v.variant("gone", [
  v.object({
    gone: v.optional(v.literal(false)),
    id,
    name,
    addresses,
    reachable: v.boolean(),
    latency_ms: amount,
    /** Of the last direct answer; only told where the node is unreachable. */
    last_seen: v.nullable(time),
  }),
  /** Forgotten by command. */
  v.object({ gone: v.literal(true), id }),
]);
export type ViewEntry = v.InferOutput<typeof viewEntry>;

export const nodeAnswer = v.object({
  node: nodeFacts,
  revision: v.pipe(v.number(), v.integer(), v.minValue(0)),
  /** `members` holds what changed after this revision; null: it holds all. */
  since: v.nullable(v.pipe(v.number(), v.integer(), v.minValue(0))),
  members: v.pipe(v.array(viewEntry), v.maxLength(limits.members * 2)),
});
export type NodeAnswer = v.InferOutput<typeof nodeAnswer>;

/** Who asks, from the header `Agent-Node`. */
export interface Asker {
  id: string;
  instance: string;
  addresses: string[];
}

export const askerHeader = "agent-node";
export const addressesHeader = "agent-addresses";
export const timeHeader = "agent-time";
/** `<load> <MiB of memory available>`: what changes all the time, and is no reason for a whole answer. */
export const loadHeader = "agent-load";

/** The part of the facts that wavers. */
export type HostLoad = Pick<NodeFacts, "load" | "memory_available">;

export function formatLoad({ load, memory_available: bytes }: HostLoad): string {
  return `${load ?? "-"} ${bytes === null ? "-" : Math.round(bytes / mib)}`;
}

export function parseLoad(text: string | string[] | undefined): HostLoad | undefined {
  const match = /^(-|\d{1,5}(?:\.\d{1,2})?) (-|\d{1,10})$/.exec(
    typeof text === "string" ? text : "",
  );
  if (match === null) return undefined;
  const [, load, available] = match;
  return {
    load: load === "-" ? null : Number(load),
    memory_available: available === "-" ? null : Number(available) * mib,
  };
}

const mib = 1024 * 1024;

/** Reads the two headers of a question; undefined where they are missing or malformed. */
export function parseAsker(node: string | undefined, list: string | undefined): Asker | undefined {
  const [askerId, askerInstance] = (node ?? "").split(".");
  const dialled = (list ?? "").split(",").map((each) => each.trim()).filter((each) => each !== "");
  const asker = v.safeParse(v.object({ id, instance, addresses }), {
    id: askerId,
    instance: askerInstance,
    addresses: dialled,
  });
  return asker.success ? asker.output : undefined;
}

/** `"<instance>.<revision>"`, quoted as RFC 9110, 8.8.3 wants it. */
export function etagOf(of: { instance: string; revision: number }): string {
  return `"${of.instance}.${of.revision}"`;
}

export function parseEtag(
  text: string | undefined,
): { instance: string; revision: number } | undefined {
  const match = /^"([0-9a-f]{16})\.(\d{1,15})"$/.exec(text ?? "");
  return match === null ? undefined : { instance: match[1]!, revision: Number(match[2]) };
}
