/** What is known of another node. */
import type { NodeFacts } from "./protocol.ts";

/** What the connection to a node showed, beside what the node reports. */
export interface Observed {
  latencyMs: number;
  /** Its clock minus ours. */
  clockOffsetMs: number | undefined;
  /** SHA-256 in lower-case hex; undefined without TLS. */
  certificateFingerprint: string | undefined;
  certificateNotAfter: number | undefined;
  caFingerprint: string | undefined;
}

/** One start of a node that answers. */
interface Instance {
  address: string;
  firstAt: number;
  lastAt: number;
}

/** What one node reports about its connection to another. */
export interface Edge {
  reachable: boolean;
  latencyMs: number | undefined;
  lastSeen: number | undefined;
}

export interface Member {
  readonly id: string;
  name: string;
  /** Where it can be dialled. */
  addresses: string[];
  /** Wall clock. */
  firstSeen: number;
  lastSeen: number | undefined;
  /** Monotonic, of the last direct answer. */
  answeredAt: number | undefined;
  /** When its host first refused a connection since then, and when it did so last. */
  refused: { first: number; last: number } | undefined;
  facts: NodeFacts | undefined;
  observed: Observed | undefined;
  /** What others are told of its latency. */
  smoothLatencyMs: number | undefined;
  /** Why the last request failed; undefined after an answer. */
  error: string | undefined;
  /** The address that answered last. */
  good: string | undefined;
  instances: Map<string, Instance>;
  links: Map<string, Edge>;
  /** The revision of its view that we have, and the instance that it belongs to. */
  held: { instance: string; revision: number } | undefined;
  /** Our addresses as we last sent them to it; undefined: it may not know us. */
  told: string | undefined;
}

/** A member as it is stored on disk. */
export interface KnownMember {
  id: string;
  name: string;
  addresses: string[];
  first_seen: number;
  last_seen: number | null;
}

export function newMember(id: string, name: string, wall: number): Member {
  return {
    id,
    name,
    addresses: [],
    firstSeen: wall,
    lastSeen: undefined,
    answeredAt: undefined,
    refused: undefined,
    facts: undefined,
    observed: undefined,
    smoothLatencyMs: undefined,
    error: undefined,
    good: undefined,
    instances: new Map(),
    links: new Map(),
    held: undefined,
    told: undefined,
  };
}

/** Share of the newest answer in the mean: one slow answer on a busy host is nothing new. */
const smoothing = 0.2;

/** Notes a direct answer of that process of the node. */
export function sawMember(
  member: Member,
  instance: string,
  address: string,
  observed: Observed,
  { now, wall }: { now: number; wall: number },
): void {
  const before = member.instances.get(instance);
  member.instances.set(instance, { address, firstAt: before?.firstAt ?? now, lastAt: now });
  member.answeredAt = now;
  member.refused = undefined;
  member.lastSeen = wall;
  member.observed = observed;
  const mean = member.smoothLatencyMs ?? observed.latencyMs;
  member.smoothLatencyMs = mean + smoothing * (observed.latencyMs - mean);
  member.error = undefined;
  member.good = address;
}
