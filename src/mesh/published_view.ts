/**
 * What this node tells the others of the cluster, with a revision that changes only with what is stable:
 * members, their addresses, whether they are reachable. An idle cluster answers 304 throughout. Values
 * that waver, load and latency, do not make a new revision by themselves: the load goes with every
 * answer, and of the latencies a few that are far off are corrected now and then.
 */
import type { Member } from "./member.ts";
import type { NodeFacts, ViewEntry } from "./protocol.ts";

/** Maximum age of a view. It is made from all members, and each of them asks for it in each tick. */
const viewMs = 500;
/**
 * Latencies are corrected this often, and so many at a time, so that the bytes for each pair of nodes
 * do not grow with their number.
 */
const latencyMs = 60_000;
const latenciesAtOnce = 8;

interface Published {
  text: string;
  entry: ViewEntry;
  revision: number;
}

/** The members and forgotten ids that a view is made from. */
export interface Viewed {
  members: ReadonlyMap<string, Member>;
  gone: Iterable<string>;
  isReachable: (member: Member) => boolean;
}

export class PublishedView {
  readonly #entries = new Map<string, Published>();
  #revision = 0;
  #isStale = true;
  #madeAt = -Infinity;
  #correctedAt = -Infinity;
  #ownFacts = "";

  /** The view is made again for the next request, whatever its age. */
  outdate(): void {
    this.#isStale = true;
  }

  /** The revision, and the entries that changed after an earlier one. */
  at(
    now: number,
    facts: NodeFacts,
    viewed: Viewed,
  ): { revision: number; entries: (since: number) => ViewEntry[] } {
    if (this.#isStale || now - this.#madeAt >= viewMs) {
      this.#isStale = false;
      this.#madeAt = now;
      this.#renew(facts, viewed, now);
    }
    return {
      revision: this.#revision,
      entries: (since) =>
        [...this.#entries.values()].filter(({ revision }) => revision > since)
          .map(({ entry }) => entry),
    };
  }

  #renew(facts: NodeFacts, { members, gone, isReachable }: Viewed, now: number): void {
    const corrected = this.#toCorrect([...members.values()], now);
    const next = new Set<string>();
    const publish = (entry: ViewEntry) => {
      next.add(entry.id);
      const text = JSON.stringify(entry);
      if (this.#entries.get(entry.id)?.text === text) return;
      this.#entries.set(entry.id, { text, entry, revision: ++this.#revision });
    };
    for (const member of members.values()) {
      const reachable = isReachable(member);
      const latency = corrected.has(member.id) ? undefined : this.#latencyOf(member.id);
      publish({
        id: member.id,
        name: member.name,
        addresses: member.facts?.addresses ?? member.addresses,
        reachable,
        latency_ms: reachable ? latency ?? rounded(member.smoothLatencyMs) : null,
        last_seen: reachable ? null : member.lastSeen ?? null,
      });
    }
    for (const id of gone) publish({ gone: true, id });
    for (const id of this.#entries.keys()) if (!next.has(id)) this.#entries.delete(id);
    const own = JSON.stringify({ ...facts, load: null, memory_available: null });
    if (own === this.#ownFacts) return;
    this.#ownFacts = own;
    this.#revision++;
  }

  /** The latency that others were told; undefined where they were told none. */
  #latencyOf(id: string): number | undefined {
    const entry = this.#entries.get(id)?.entry;
    return entry === undefined || entry.gone ? undefined : entry.latency_ms ?? undefined;
  }

  /** Members whose published latency is off by a factor of two or more: those that are off most. */
  #toCorrect(members: Member[], now: number): Set<string> {
    if (now - this.#correctedAt < latencyMs) return new Set();
    this.#correctedAt = now;
    const off = members.map(({ id, smoothLatencyMs }) => ({
      id,
      factor: factorBetween(this.#latencyOf(id), rounded(smoothLatencyMs) ?? undefined),
    }));
    return new Set(
      off.filter(({ factor }) => factor > 2).toSorted((a, b) => b.factor - a.factor)
        .slice(0, latenciesAtOnce).map(({ id }) => id),
    );
  }
}

/** Differences of less than this are noise on any network. */
const noiseMs = 5;

function factorBetween(published: number | undefined, measured: number | undefined): number {
  if (published === undefined || measured === undefined) return 1;
  const [low, high] = [Math.min(published, measured), Math.max(published, measured)];
  return high - low > noiseMs ? high / low : 1;
}

function rounded(ms: number | undefined): number | null {
  if (ms === undefined) return null;
  return ms < 10 ? Math.round(ms * 10) / 10 : Math.round(ms);
}
