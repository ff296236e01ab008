/**
 * Decides which nodes are in the cluster and which are reachable. A state machine without a socket or a
 * clock: answers and the time go in; the nodes to ask and the view to show come out. `now` is
 * monotonic, `wall` is milliseconds since the epoch.
 */
import { limits, type NodeAnswer, type NodeFacts, times, type ViewEntry } from "./protocol.ts";

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

export type Reach = "reachable" | "unreachable" | "conflict";

/** How long nodes that vanished all at once are still shown as reachable. */
const cutOffHoldMs = 5 * 60_000;
/** A tick that is later than this was delayed on this host, which says nothing about the others. */
const lateTickMs = 2 * times.tickMs;
/** Nodes that vanish within this time vanished at once: two ticks, and a timeout. */
const atOnceMs = 2 * times.tickMs + times.answerMs;
/** Instances that have been silent for longer are dropped. */
const instanceMs = 60_000;
/** Maximum age of a view. It is made from all members, and each of them asks for it in each tick. */
const viewMs = 500;
/** Forgotten ids that are remembered, so that reports of other nodes do not bring them back. */
const maxTombstones = 1_000;

export class Membership {
  readonly members = new Map<string, Member>();
  /** Ids forgotten by command. */
  readonly #gone = new Set<string>();
  readonly #entries = new Map<string, { text: string; entry: ViewEntry; revision: number }>();
  #revision = 0;
  /** The view is made again for the next request, whatever its age. */
  #stale = true;
  #viewedAt = -Infinity;
  #ownFacts = "";
  #tickAt: number | undefined;
  /** When another process with our own id last answered. */
  #ownConflictAt: number | undefined;

  constructor(readonly self: { id: string; instance: string }) {}

  /** Restores what was on disk at the start. */
  restore(known: KnownMember[], gone: string[]): void {
    for (const id of gone) this.#gone.add(id);
    for (const each of known) {
      if (each.id === this.self.id || this.members.size >= limits.members) continue;
      const member = this.#member(each.id, each.name, each.first_seen);
      member.addresses = each.addresses;
      member.lastSeen = each.last_seen ?? undefined;
    }
  }

  known(): { members: KnownMember[]; gone: string[] } {
    const members = [...this.members.values()].map((each) => ({
      id: each.id,
      name: each.name,
      addresses: each.addresses,
      first_seen: each.firstSeen,
      last_seen: each.lastSeen ?? null,
    }));
    return { members, gone: [...this.#gone] };
  }

  /**
   * A tick begins. If it is late, this process was delayed: the others did not have a chance to answer,
   * and get as much time again.
   */
  tick(now: number, wall: number): void {
    const gap = now - (this.#tickAt ?? now);
    this.#tickAt = now;
    if (gap > lateTickMs) {
      for (const member of this.members.values()) {
        if (member.answeredAt !== undefined) member.answeredAt += gap;
        for (const instance of member.instances.values()) instance.lastAt += gap;
      }
    }
    for (const member of [...this.members.values()]) {
      const seen = member.lastSeen ?? member.firstSeen;
      if (this.reach(member, now) === "unreachable" && wall - seen > times.forgetMs) {
        this.#remove(member.id);
      }
      for (const [instance, { lastAt }] of member.instances) {
        if (now - lastAt > instanceMs) member.instances.delete(instance);
      }
    }
  }

  /** Called when a node has answered directly. @returns ids that were not known before. */
  answered(
    address: string,
    answer: NodeAnswer,
    observed: Observed,
    at: { now: number; wall: number },
  ): string[] {
    const { node } = answer;
    if (node.id === this.self.id) {
      if (node.instance !== this.self.instance) this.#ownConflictAt = at.now;
      return [];
    }
    if (this.#gone.delete(node.id)) this.#stale = true;
    const isNew = !this.members.has(node.id);
    if (isNew && this.members.size >= limits.members) return [];
    const member = this.#member(node.id, node.name, at.wall);
    member.name = node.name;
    member.facts = node;
    member.addresses = [...new Set([...node.addresses, address])].slice(0, limits.addresses);
    this.#saw(member, node.instance, address, observed, at);
    if (answer.since === null) member.links.clear();
    member.held = { instance: node.instance, revision: answer.revision };
    const found = answer.members.flatMap((entry) => this.#heard(member, entry, at.wall));
    return isNew ? [node.id, ...found] : found;
  }

  /** Called when a node has answered that nothing has changed since the revision that we have. */
  unchanged(
    id: string,
    instance: string,
    address: string,
    observed: Observed,
    at: { now: number; wall: number },
  ): void {
    const member = this.members.get(id);
    if (member === undefined) return;
    this.#saw(member, instance, address, observed, at);
  }

  failed(id: string, reason: string): void {
    const member = this.members.get(id);
    if (member === undefined) return;
    member.error = reason;
    member.told = undefined;
  }

  /** Removes an unreachable node, here and on all nodes that learn of it. */
  forget(id: string): void {
    this.#remove(id);
    this.#gone.add(id);
    if (this.#gone.size > maxTombstones) this.#gone.delete([...this.#gone][0]!);
  }

  reach(member: Member, now: number): Reach {
    if (this.#inConflict(member, now)) return "conflict";
    const at = this.#effective(now);
    const silent = at - (member.answeredAt ?? -Infinity);
    return silent <= times.unreachableMs ? "reachable" : "unreachable";
  }

  /** As `reach`, but nodes that all vanished at once are shown as reachable for a while. */
  shown(member: Member, now: number): Reach {
    const reach = this.reach(member, now);
    if (reach !== "unreachable" || member.answeredAt === undefined || !this.cutOff(now)) {
      return reach;
    }
    return this.#effective(now) - member.answeredAt < cutOffHoldMs ? "reachable" : "unreachable";
  }

  /** Whether another process with our own id answers. */
  ownConflict(now: number): boolean {
    return this.#ownConflictAt !== undefined &&
      now - this.#ownConflictAt <= 2 * times.unreachableMs;
  }

  /**
   * Whether this node is the one that is cut off: at least two others answered before, and most of them
   * fell silent at once and still are.
   */
  cutOff(now: number): boolean {
    const seen = [...this.members.values()].filter(({ answeredAt }) => answeredAt !== undefined);
    const silent = seen.filter((member) => this.reach(member, now) === "unreachable");
    const last = Math.max(...silent.map(({ answeredAt }) => answeredAt!));
    const together = silent.filter(({ answeredAt }) => last - answeredAt! <= atOnceMs);
    return together.length >= 2 && together.length * 2 > seen.length;
  }

  /** The lowest id that is reachable and not in conflict; undefined if all are in conflict. */
  master(now: number): string | undefined {
    const candidates = [...this.members.values()]
      .filter((member) => this.reach(member, now) === "reachable").map(({ id }) => id);
    if (!this.ownConflict(now)) candidates.push(this.self.id);
    return candidates.sort()[0];
  }

  /** Entries that changed after a revision, and the revision that they lead to. */
  view(
    facts: NodeFacts,
    now: number,
  ): { revision: number; entries: (since: number) => ViewEntry[] } {
    if (this.#stale || now - this.#viewedAt >= viewMs) {
      this.#stale = false;
      this.#viewedAt = now;
      this.#renew(facts, now);
    }
    return {
      revision: this.#revision,
      entries: (since) =>
        [...this.#entries.values()].filter(({ revision }) => revision > since)
          .map(({ entry }) => entry),
    };
  }

  #renew(facts: NodeFacts, now: number): void {
    const next = new Map<string, ViewEntry>();
    for (const member of this.members.values()) next.set(member.id, this.#entryOf(member, now));
    for (const id of this.#gone) next.set(id, { gone: true, id });
    for (const [id, entry] of next) {
      const text = JSON.stringify(entry);
      if (this.#entries.get(id)?.text === text) continue;
      this.#entries.set(id, { text, entry, revision: ++this.#revision });
    }
    for (const id of this.#entries.keys()) if (!next.has(id)) this.#entries.delete(id);
    const own = JSON.stringify(facts);
    if (own === this.#ownFacts) return;
    this.#ownFacts = own;
    this.#revision++;
  }

  #entryOf(member: Member, now: number): ViewEntry {
    const reachable = this.reach(member, now) !== "unreachable";
    const before = this.#entries.get(member.id)?.entry;
    const published = before === undefined || before.gone ? null : before.latency_ms;
    return {
      id: member.id,
      name: member.name,
      addresses: member.facts?.addresses ?? member.addresses,
      reachable,
      latency_ms: reachable ? steady(published, member.smoothLatencyMs) : null,
      last_seen: reachable ? null : member.lastSeen ?? null,
    };
  }

  #member(id: string, name: string, wall: number): Member {
    const known = this.members.get(id);
    if (known !== undefined) return known;
    const member: Member = {
      id,
      name,
      addresses: [],
      firstSeen: wall,
      lastSeen: undefined,
      answeredAt: undefined,
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
    this.members.set(id, member);
    this.#stale = true;
    return member;
  }

  #saw(
    member: Member,
    instance: string,
    address: string,
    observed: Observed,
    { now, wall }: { now: number; wall: number },
  ): void {
    const before = member.instances.get(instance);
    member.instances.set(instance, { address, firstAt: before?.firstAt ?? now, lastAt: now });
    member.answeredAt = now;
    member.lastSeen = wall;
    member.observed = observed;
    const mean = member.smoothLatencyMs ?? observed.latencyMs;
    member.smoothLatencyMs = mean + smoothing * (observed.latencyMs - mean);
    member.error = undefined;
    member.good = address;
  }

  /** Takes what another node reports: further nodes to ask. */
  #heard(from: Member, entry: ViewEntry, wall: number): string[] {
    if (entry.gone) {
      from.links.delete(entry.id);
      const member = this.members.get(entry.id);
      // A node that answers us is not gone.
      const isSilent = member?.error !== undefined || member?.answeredAt === undefined;
      if (entry.id !== this.self.id && !this.#gone.has(entry.id) && isSilent) this.forget(entry.id);
      return [];
    }
    from.links.set(entry.id, {
      reachable: entry.reachable,
      latencyMs: entry.latency_ms ?? undefined,
      lastSeen: entry.last_seen ?? undefined,
    });
    if (entry.id === this.self.id) return [];
    if (this.#gone.has(entry.id)) {
      if (!entry.reachable) return [];
      this.#gone.delete(entry.id);
    }
    const known = this.members.get(entry.id);
    if (known === undefined) {
      if (this.members.size >= limits.members) return [];
      this.#member(entry.id, entry.name, wall).addresses = entry.addresses;
      return [entry.id];
    }
    // What a node reports about itself counts more than what others report.
    if (known.facts === undefined) known.addresses = entry.addresses;
    else if (known.error !== undefined) {
      known.addresses = bestFirst([...known.addresses, ...entry.addresses], known.good);
    }
    return [];
  }

  #remove(id: string): void {
    this.#stale = true;
    this.members.delete(id);
    for (const { links } of this.members.values()) links.delete(id);
  }

  /** Whether two processes answer in turn. A process that has ended does not answer after its successor. */
  #inConflict(member: Member, now: number): boolean {
    const alive = [...member.instances.values()]
      .filter(({ lastAt }) => now - lastAt <= 2 * times.unreachableMs)
      .toSorted((a, b) => a.firstAt - b.firstAt);
    return alive.some((older, index) =>
      alive.slice(index + 1).some((newer) => older.lastAt > newer.firstAt)
    );
  }

  /** The time, but no later than 1.5 ticks after the last tick: since then nobody was asked. */
  #effective(now: number): number {
    return Math.min(now, (this.#tickAt ?? now) + 1.5 * times.tickMs);
  }
}

/** Distinct addresses, the working one first, at most as many as the protocol allows. */
export function bestFirst(addresses: string[], good: string | undefined): string[] {
  const all = good === undefined ? addresses : [good, ...addresses];
  return [...new Set(all)].slice(0, limits.addresses);
}

/** Share of the newest answer in the mean: one slow answer on a busy host is nothing new. */
const smoothing = 0.2;

/** The latency that is published changes only when the mean doubles or halves. */
function steady(published: number | null, measured: number | undefined): number | null {
  if (measured === undefined) return published;
  const rounded = measured < 10 ? Math.round(measured * 10) / 10 : Math.round(measured);
  if (published === null) return rounded;
  const [low, high] = [Math.min(published, rounded), Math.max(published, rounded)];
  return high > 2 * low && high - low > 5 ? rounded : published;
}
