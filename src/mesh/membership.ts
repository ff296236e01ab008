/**
 * Decides which nodes are in the cluster and which are reachable. A state machine without a socket or a
 * clock: answers and the time go in; the nodes to ask and the view to show come out. `now` is
 * monotonic, `wall` is milliseconds since the epoch.
 */
import { type KnownMember, type Member, newMember, type Observed, sawMember } from "./member.ts";
import {
  type HostLoad,
  limits,
  type NodeAnswer,
  type NodeFacts,
  times,
  type ViewEntry,
} from "./protocol.ts";
import { PublishedView } from "./published_view.ts";

export type Reach = "reachable" | "unreachable" | "conflict";

/** How long nodes that vanished all at once are still shown as reachable. */
const cutOffHoldMs = 5 * 60_000;
/** A tick that is later than this was delayed on this host, which says nothing about the others. */
const lateTickMs = 2 * times.tickMs;
/** Nodes that vanish within this time vanished at once: two ticks, and a timeout. */
const atOnceMs = 2 * times.tickMs + times.answerMs;
/** Instances that have been silent for longer are dropped. */
const instanceMs = 60_000;
/** Forgotten ids that are remembered, so that reports of other nodes do not bring them back. */
const maxTombstones = 1_000;

export class Membership {
  readonly members = new Map<string, Member>();
  /** Ids forgotten by command. */
  readonly #gone = new Set<string>();
  readonly #view = new PublishedView();
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
    if (this.#gone.delete(node.id)) this.#view.outdate();
    const isNew = !this.members.has(node.id);
    if (isNew && this.members.size >= limits.members) return [];
    const member = this.#member(node.id, node.name, at.wall);
    member.name = node.name;
    member.facts = node;
    member.addresses = [...new Set([...node.addresses, address])].slice(0, limits.addresses);
    sawMember(member, node.instance, address, observed, at);
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
    load: HostLoad | undefined,
  ): void {
    const member = this.members.get(id);
    if (member === undefined) return;
    sawMember(member, instance, address, observed, at);
    if (load !== undefined && member.facts !== undefined) Object.assign(member.facts, load);
  }

  /** @param refused whether its host said that nothing listens where it answered last. */
  failed(id: string, reason: string, now: number, refused: boolean): void {
    const member = this.members.get(id);
    if (member === undefined) return;
    member.error = reason;
    member.told = undefined;
    member.refused = refused ? { first: member.refused?.first ?? now, last: now } : undefined;
  }

  /** Removes an unreachable node, here and on all nodes that learn of it. */
  forget(id: string): void {
    this.#remove(id);
    this.#gone.add(id);
    if (this.#gone.size > maxTombstones) this.#gone.delete([...this.#gone][0]!);
  }

  reach(member: Member, now: number): Reach {
    if (this.#inConflict(member, now)) return "conflict";
    if (isRefusing(member)) return "unreachable";
    const silent = this.#effective(now) - (member.answeredAt ?? -Infinity);
    return silent <= times.unreachableMs ? "reachable" : "unreachable";
  }

  /** As `reach`, but nodes that all vanished at once are shown as reachable for a while. */
  shown(member: Member, now: number, cutOff: boolean): Reach {
    const reach = this.reach(member, now);
    if (reach !== "unreachable" || member.answeredAt === undefined || !cutOff) return reach;
    if (isRefusing(member)) return reach;
    return this.#effective(now) - member.answeredAt < cutOffHoldMs ? "reachable" : "unreachable";
  }

  /** Whether another process with our own id answers. */
  ownConflict(now: number): boolean {
    return this.#ownConflictAt !== undefined &&
      now - this.#ownConflictAt <= 2 * times.unreachableMs;
  }

  /**
   * Whether this node is the one that is cut off: at least two others answered before, and most of them
   * fell silent at once and still are. Those whose host refuses connections are not silent.
   */
  cutOff(now: number): boolean {
    const seen = [...this.members.values()].filter(({ answeredAt }) => answeredAt !== undefined);
    const silent = seen.filter((member) =>
      this.reach(member, now) === "unreachable" && !isRefusing(member)
    );
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
    return this.#view.at(now, facts, {
      members: this.members,
      gone: this.#gone,
      isReachable: (member) => this.reach(member, now) !== "unreachable",
    });
  }

  #member(id: string, name: string, wall: number): Member {
    const known = this.members.get(id);
    if (known !== undefined) return known;
    const member = newMember(id, name, wall);
    this.members.set(id, member);
    this.#view.outdate();
    return member;
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
    this.#view.outdate();
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

/**
 * Whether a host has refused connections for long enough: its process is gone, and it is not one that
 * starts again.
 */
function isRefusing({ refused }: Member): boolean {
  return refused !== undefined && refused.last - refused.first >= times.refusedMs;
}

/** Distinct addresses, the working one first, at most as many as the protocol allows. */
export function bestFirst(addresses: string[], good: string | undefined): string[] {
  const all = good === undefined ? addresses : [good, ...addresses];
  return [...new Set(all)].slice(0, limits.addresses);
}
