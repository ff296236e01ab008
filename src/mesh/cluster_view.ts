/** The document of `GET /api/cluster`: everything that a person sees of the cluster. */
import type { Member, Observed } from "./member.ts";
import type { Membership, Reach } from "./membership.ts";
import type { NodeFacts } from "./protocol.ts";

export interface NodeView {
  id: string;
  name: string;
  address: string;
  addresses: string[];
  self: boolean;
  role: "master" | "node";
  state: Reach;
  reachable: boolean;
  last_seen: string | null;
  first_seen: string;
  version: string | null;
  started_at: string | null;
  cpu_count: number | null;
  load: number | null;
  memory_total: number | null;
  memory_available: number | null;
  ca_fingerprint: string | null;
  certificate_fingerprint: string | null;
  certificate_not_after: string | null;
  clock_offset_ms: number | null;
  latency_ms: number | null;
  shared_identity: boolean;
  warnings: string[];
  error: string | null;
  can_sign_on: boolean;
}

export interface EdgeView {
  from: string;
  to: string;
  reachable: boolean;
  latency_ms: number | null;
  last_seen: string | null;
}

export interface ClusterView {
  cluster: string | null;
  node_id: string;
  master_node_id: string | null;
  cut_off: boolean;
  nodes: NodeView[];
  links: EdgeView[];
}

/** Without the connections between nodes, whose number grows with the square of theirs. */
export type NodesView = Omit<ClusterView, "links">;

/** The connections of one node. */
export interface ReachView {
  id: string;
  /** Others that it reaches, of so many that it knows. */
  reaches: number;
  reaches_of: number;
  /** Others that reach it, of so many that know it. */
  reached_by: number;
  reached_by_of: number;
  /** Median round trip to those that it reaches. */
  latency_ms: number | null;
}

export interface NetworkView extends NodesView {
  reach: ReachView[];
  /** Those that fail. */
  links: EdgeView[];
}

/** What this node knows of itself. */
export interface OwnFacts {
  facts: NodeFacts;
  firstSeen: number;
  /** Its own certificate as peers see it. */
  certificate: Pick<Observed, "certificateFingerprint" | "certificateNotAfter" | "caFingerprint">;
  /** What has changed on its host and needs a restart, with the command. */
  change?: { reason: string; next: string } | undefined;
}

const dayMs = 86_400_000;
/** As `agent tls status` warns. */
const expiryWarningMs = 30 * dayMs;
/** Beyond this TLS and leases begin to suffer, and NTP keeps hosts within milliseconds. */
const clockWarningMs = 5_000;

interface Moment {
  /** Monotonic. */
  now: number;
  wall: number;
  signOn: boolean;
}

export function nodesView(
  membership: Membership,
  own: OwnFacts,
  { now, wall, signOn }: Moment,
): NodesView {
  const master = membership.master(now);
  const cutOff = membership.cutOff(now);
  const conflict = membership.ownConflict(now);
  const self: Row = {
    id: own.facts.id,
    member: undefined,
    facts: own.facts,
    observed: { ...own.certificate, latencyMs: 0, clockOffsetMs: 0 },
    state: conflict ? "conflict" : "reachable",
    isSilent: false,
  };
  const others = [...membership.members.values()].map((member): Row => ({
    id: member.id,
    member,
    facts: member.facts,
    observed: member.observed,
    state: membership.shown(member, now, cutOff),
    isSilent: membership.reach(member, now) === "unreachable",
  }));
  const rows = [self, ...others];
  const usual = usualOf(rows);
  const owners = Map.groupBy(rows, ({ observed }) => observed?.certificateFingerprint);
  const nodes = rows.map((row) => nodeView(row, { owners, usual, own, master, wall, signOn }));
  return {
    cluster: own.facts.cluster,
    node_id: own.facts.id,
    master_node_id: master ?? null,
    cut_off: cutOff,
    nodes: nodes.toSorted(inOrder),
  };
}

interface Row {
  id: string;
  member: Member | undefined;
  facts: NodeFacts | undefined;
  observed: Observed | undefined;
  state: Reach;
  /** No direct answer lately, whatever is shown. */
  isSilent: boolean;
}

interface Context {
  /** By the certificate that they present. */
  owners: Map<string | undefined, Row[]>;
  usual: { version: string | undefined; ca: string | undefined };
  own: OwnFacts;
  master: string | undefined;
  wall: number;
  signOn: boolean;
}

function nodeView(row: Row, context: Context): NodeView {
  const { member, facts, observed, state } = row;
  const { own, master, wall, signOn } = context;
  const addresses = member?.addresses ?? own.facts.addresses;
  const certificate = observed?.certificateFingerprint;
  const isShared = certificate !== undefined && context.owners.get(certificate)!.length > 1;
  return {
    id: row.id,
    name: facts?.name ?? member?.name ?? row.id,
    address: member?.good ?? addresses[0] ?? "",
    addresses,
    self: member === undefined,
    role: row.id === master ? "master" : "node",
    state,
    reachable: state === "reachable",
    last_seen: timestamp(member === undefined ? wall : member.lastSeen),
    first_seen: timestamp(member?.firstSeen ?? own.firstSeen)!,
    version: facts?.version ?? null,
    started_at: timestamp(facts?.started_at),
    cpu_count: facts?.cpu_count ?? null,
    load: facts?.load ?? null,
    memory_total: facts?.memory_total ?? null,
    memory_available: facts?.memory_available ?? null,
    ca_fingerprint: observed?.caFingerprint ?? null,
    certificate_fingerprint: observed?.certificateFingerprint ?? null,
    certificate_not_after: timestamp(observed?.certificateNotAfter),
    clock_offset_ms: observed?.clockOffsetMs ?? null,
    latency_ms: tenths(observed?.latencyMs),
    shared_identity: isShared,
    warnings: [
      ...(member === undefined ? changeOf(own) : []),
      ...warningsOf(row, isShared, context),
    ],
    error: member?.error ?? null,
    can_sign_on: signOn && member !== undefined && state === "reachable",
  };
}

function changeOf({ change }: OwnFacts): string[] {
  return change === undefined ? [] : [`${change.reason}: ${change.next}`];
}

function warningsOf(row: Row, isShared: boolean, { usual, wall }: Context): string[] {
  const { facts, observed, state, isSilent } = row;
  const warnings: string[] = [];
  if (state === "conflict") {
    warnings.push(
      "Two nodes answer with this id: one was cloned; remove its node-id file and restart it",
    );
  }
  if (isSilent && state === "reachable") {
    warnings.push("It has not answered lately; this node itself seems to be cut off");
  }
  if (facts !== undefined && facts.version !== usual.version) {
    warnings.push(`Version ${facts.version} differs from ${usual.version}, which most nodes run`);
  }
  if (observed?.caFingerprint !== undefined && observed.caFingerprint !== usual.ca) {
    warnings.push("Its certificate was issued by another CA than that of most nodes");
  }
  const left = (observed?.certificateNotAfter ?? Infinity) - wall;
  if (left < 0) warnings.push("Its certificate has expired: agent tls renew");
  else if (left < expiryWarningMs) {
    const days = Math.floor(left / dayMs);
    warnings.push(
      `Its certificate ends in ${days} ${days === 1 ? "day" : "days"}: agent tls renew`,
    );
  }
  if (isShared) warnings.push("It shares its certificate with another node (shared identity)");
  const offset = observed?.clockOffsetMs ?? 0;
  if (Math.abs(offset) > clockWarningMs) {
    warnings.push(
      `Its clock is ${Math.round(Math.abs(offset) / 1000)} s ${offset > 0 ? "ahead" : "behind"}`,
    );
  }
  return warnings;
}

/** What most of the nodes that answer have; ties go to this node's own, which comes first. */
function usualOf(rows: Row[]): { version: string | undefined; ca: string | undefined } {
  const live = rows.filter(({ state }) => state !== "unreachable");
  return {
    version: mostFrequent(live.map(({ facts }) => facts?.version)),
    ca: mostFrequent(live.map(({ observed }) => observed?.caFingerprint)),
  };
}

function mostFrequent(values: (string | undefined)[]): string | undefined {
  const counts = new Map<string, number>();
  for (const value of values) {
    if (value !== undefined) counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  let best: string | undefined;
  for (const [value, count] of counts) if (count > (counts.get(best ?? "") ?? 0)) best = value;
  return best;
}

/** The master first, the unreachable last, each by name. */
function inOrder(a: NodeView, b: NodeView): number {
  const rank = (node: NodeView) =>
    node.role === "master" ? 0 : node.state === "unreachable" ? 2 : 1;
  return rank(a) - rank(b) || a.name.localeCompare(b.name) || (a.id < b.id ? -1 : 1);
}

/** Who reaches whom: about the square of the number of nodes. */
export function* linksOf(membership: Membership, now: number): Iterable<EdgeView> {
  const self = membership.self.id;
  for (const member of membership.members.values()) {
    const reachable = membership.reach(member, now) !== "unreachable";
    yield {
      from: self,
      to: member.id,
      reachable,
      latency_ms: reachable ? tenths(member.observed?.latencyMs) : null,
      last_seen: timestamp(member.lastSeen),
    };
    // What a node that does not answer said once is of the past.
    if (!reachable) continue;
    for (const [to, link] of member.links) {
      if (to !== self && !membership.members.has(to)) continue;
      yield {
        from: member.id,
        to,
        reachable: link.reachable,
        latency_ms: tenths(link.latencyMs),
        last_seen: timestamp(link.lastSeen),
      };
    }
  }
}

function timestamp(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}

function tenths(ms: number | undefined): number | null {
  return ms === undefined ? null : Math.round(ms * 10) / 10;
}
