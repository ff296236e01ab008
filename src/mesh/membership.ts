/**
 * Who is in the cluster and who is reachable, as a state machine without a socket or a clock: what
 * was heard and the time go in, whom to ask and what to show come out. `now` is monotonic, `wall` is
 * milliseconds since the epoch.
 */
import { limits, type NodeAnswer, type NodeFacts, times, type ViewEntry } from "./protocol.ts";

/** What the connection to a node showed, beside what the node says. */
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

/** What one node says of its way to another. */
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
  /** Why the last question failed; undefined after an answer. */
  error: string | undefined;
  /** The address that answered last. */
  good: string | undefined;
  instances: Map<string, Instance>;
  links: Map<string, Edge>;
  /** Revision of its view that is held, for the instance that it belongs to. */
  held: { instance: string; revision: number } | undefined;
  /** The addresses of ours that it was told with its last answers; undefined: it may not know us. */
  told: string | undefined;
}

/** A member as it is kept on disk. */
export interface KnownMember {
  id: string;
  name: string;
  addresses: string[];
  first_seen: number;
  last_seen: number | null;
}

export type Reach = "reachable" | "unreachable" | "conflict";

/** How long nodes that vanished all at once are still shown as before. */
const cutOffHoldMs = 5 * 60_000;
/** A tick that is later than this was held up here, which says nothing about the others. */
const lateTickMs = 2 * times.tickMs;
/** What vanished within this time of each other vanished at once: two ticks, and a timeout. */
const atOnceMs = 2 * times.tickMs + times.answerMs;
/** Instances that have been silent for longer are of the past. */
const instanceMs = 60_000;
/** A view is made from all members, and asked for by all of them in each tick. */
const viewMs = 500;
/** Forgotten ids are remembered, so that hearsay does not bring them back; oldest first out. */
const maxTombstones = 1_000;

export class Membership {
  readonly members = new Map<string, Member>();
  /** Ids forgotten by command. */
  readonly #gone = new Set<string>();
  readonly #entries = new Map<string, { text: string; entry: ViewEntry; revision: number }>();
  #revision = 0;
  /** The view is made again for the next question, whatever its age. */
  #stale = true;
  #viewedAt = -Infinity;
  #ownFacts = "";
  #tickAt: number | undefined;
  /** When another start with our own id was last heard. */
  #ownConflictAt: number | undefined;

  constructor(readonly self: { id: string; instance: string }) {}

  /** Takes what was on disk at the start. */
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
   * A tick begins. One that comes late means that this process was held up: the silence of the
   * others is ours, and they get as much time again.
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

  /** A node has answered directly. @returns ids that were not known before. */
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

  /** A node has answered that nothing has changed since the revision that is held. */
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

  /** Removes a node that is not reachable, for all nodes that hear of it. */
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

  /** The same, but nodes that all vanished at once are shown as before for a while. */
  shown(member: Member, now: number): Reach {
    const reach = this.reach(member, now);
    if (reach !== "unreachable" || member.answeredAt === undefined || !this.cutOff(now)) {
      return reach;
    }
    return this.#effective(now) - member.answeredAt < cutOffHoldMs ? "reachable" : "unreachable";
  }

  /** Whether another start with our own id answers. */
  ownConflict(now: number): boolean {
    return this.#ownConflictAt !== undefined &&
      now - this.#ownConflictAt <= 2 * times.unreachableMs;
  }

  /**
   * Whether it is this node that is cut off: of at least two others that answered before, most fell
   * silent at once, and are silent still.
   */
  cutOff(now: number): boolean {
    const seen = [...this.members.values()].filter(({ answeredAt }) => answeredAt !== undefined);
    const silent = seen.filter((member) => this.reach(member, now) === "unreachable");
    const last = Math.max(...silent.map(({ answeredAt }) => answeredAt!));
    const together = silent.filter(({ answeredAt }) => last - answeredAt! <= atOnceMs);
    return together.length >= 2 && together.length * 2 > seen.length;
  }

  /** The lowest id that is reachable and not in conflict; undefined where all are in conflict. */
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
      latency_ms: reachable ? steady(published, member.observed?.latencyMs) : null,
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
    member.error = undefined;
    member.good = address;
  }

  /** Hearsay: whom else to ask. */
  #heard(from: Member, entry: ViewEntry, wall: number): string[] {
    if (entry.gone) {
      from.links.delete(entry.id);
      const member = this.members.get(entry.id);
      // One that answers us, or that we have not asked yet, is not gone.
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
    // What it says of itself counts more than what others say.
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

  /** Two starts that answer in turn; one that has ended does not answer after its successor. */
  #inConflict(member: Member, now: number): boolean {
    const alive = [...member.instances.values()]
      .filter(({ lastAt }) => now - lastAt <= 2 * times.unreachableMs)
      .toSorted((a, b) => a.firstAt - b.firstAt);
    return alive.some((older, index) =>
      alive.slice(index + 1).some((newer) => older.lastAt > newer.firstAt)
    );
  }

  /** While no tick comes, time stands still for the others: they were not asked. */
  #effective(now: number): number {
    return Math.min(now, (this.#tickAt ?? now) + 1.5 * times.tickMs);
  }
}

/** Unique, the one that works first, at most as many as the protocol allows. */
export function bestFirst(addresses: string[], good: string | undefined): string[] {
  const all = good === undefined ? addresses : [good, ...addresses];
  return [...new Set(all)].slice(0, limits.addresses);
}

/** Latency wavers with each answer; what others are told changes only when it doubles or halves. */
function steady(published: number | null, measured: number | undefined): number | null {
  if (measured === undefined) return published;
  const rounded = measured < 10 ? Math.round(measured * 10) / 10 : Math.round(measured);
  if (published === null) return rounded;
  const [low, high] = [Math.min(published, rounded), Math.max(published, rounded)];
  return high > 2 * low && high - low > 2 ? rounded : published;
}
