/** Asks the other nodes in each tick, and gives their answers to `Membership`. */
import { joinHost } from "../base/address.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { every } from "../base/lifetimes.ts";
import { limited } from "../base/limited.ts";
import type { Log } from "../base/log.ts";
import { dialable, hostOf } from "./addresses.ts";
import type { Member } from "./member.ts";
import { bestFirst, type Membership } from "./membership.ts";
import { type PeerClient, type PeerReply, RefusedError } from "./peer_client.ts";
import {
  addressesHeader,
  type Asker,
  askerHeader,
  etagOf,
  limits,
  loadHeader,
  nodeAnswer,
  parseEtag,
  parseLoad,
  times,
} from "./protocol.ts";
import * as v from "valibot";

export interface PullOptions {
  membership: Membership;
  cluster: string;
  /** From `node.peers`: asked in every tick. */
  staticPeers: string[];
  /** Where this node can be dialled. */
  addresses: () => string[];
  client: () => PeerClient;
  /** Sent to others if there is no TLS to prove membership. */
  bearer: (() => string) | undefined;
  clock: Clock;
  log: Log;
  random?: () => number;
}

/**
 * Questions at once, the others wait: of members that answer, whose connections are open; of those
 * that do not, each of which may take all of its 3 s; and of addresses that may be nodes. A question
 * to the latter two costs a handshake, and too many at once would make each other late.
 */
const maxQuestions = { answering: 64, silent: 12, possible: 16 } as const;
/** Addresses of one node that are tried in one tick. */
const maxTries = 3;
/** A candidate is dropped after this many ticks without an answer; discovery may find it again. */
const candidateTicks = 6;
/** Maximum number of candidates: more than a cluster of a few hundred nodes ever has. */
const maxCandidates = 1_000;
/** Shortest time between two requests back to the same unknown node. */
const askBackMs = 1_000;

export class Pull {
  readonly #options: PullOptions;
  readonly #busy = new Map<string, Promise<void>>();
  /** Addresses that may be nodes, with the ticks that they have been tried for. */
  readonly #candidates = new Map<string, { ticks: number; trusted: boolean }>();
  /** Addresses at which we ourselves answer. */
  readonly #own = new Set<string>();
  /** Which node answers at a configured address. */
  readonly #aliases = new Map<string, string>();
  readonly #askedBack = new Map<string, number>();
  /** Members that were asked in this tick because their connection closed. */
  readonly #disconnected = new Set<string>();
  readonly #slots = {
    answering: limited(maxQuestions.answering),
    silent: limited(maxQuestions.silent),
    possible: limited(maxQuestions.possible),
  };
  #signal: AbortSignal | undefined;

  constructor(options: PullOptions) {
    this.#options = options;
  }

  /** Runs until the signal aborts. */
  async serve(signal: AbortSignal): Promise<void> {
    const { clock, log, random } = this.#options;
    this.#signal = signal;
    await every({
      periodMs: times.tickMs,
      jitter: times.jitter,
      clock,
      signal,
      failed: (error) => log.error("tick failed", { reason: messageOf(error) }),
      ...(random === undefined ? {} : { random }),
    }, () => this.#tick());
  }

  /**
   * Asks addresses where a node may be.
   *
   * @param trusted whether they came from one that knows the token, which is then sent to them too;
   * anyone can send multicast.
   */
  found(addresses: string[], trusted = false): void {
    for (const address of addresses) {
      if (this.#own.has(address) || this.#candidates.size >= maxCandidates) continue;
      this.#candidates.set(address, { ticks: 0, trusted });
      this.#askCandidate(address, trusted);
    }
  }

  /** Called when a node has asked us, from that IP address: an unknown node is asked back at once. */
  asked(by: Asker, remote: string): void {
    const { membership, clock } = this.#options;
    if (by.id === membership.self.id && by.instance === membership.self.instance) return;
    const member = membership.members.get(by.id);
    const isKnown = member !== undefined && member.instances.has(by.instance) &&
      by.addresses.every((each) => member.addresses.includes(each)) &&
      membership.reach(member, clock.monotonic()) !== "unreachable";
    const name = `${by.id}.${by.instance}`;
    if (isKnown || this.#askedBack.has(name) || this.#askedBack.size >= limits.members) return;
    this.#askedBack.set(name, clock.monotonic());
    // First the address that it used, then those that it reports: it may not know the former.
    const port = Number(/:(\d+)$/.exec(by.addresses[0] ?? "")?.[1] ?? 0);
    const seen = port > 0 ? [joinHost(remote, port)] : [];
    this.found(bestFirst([...seen, ...dialable(by.addresses)], undefined), true);
  }

  #tick(): void {
    const { membership, clock, staticPeers } = this.#options;
    membership.tick(clock.monotonic(), clock.now());
    this.#disconnected.clear();
    const good = new Set<string>();
    for (const member of membership.members.values()) {
      if (member.good !== undefined && member.error === undefined) good.add(member.good);
      this.#askMember(member);
    }
    for (const address of staticPeers) {
      const member = membership.members.get(this.#aliases.get(address) ?? "");
      if (member === undefined || member.error !== undefined) this.#askCandidate(address, true);
    }
    for (const [address, { ticks, trusted }] of this.#candidates) {
      if (ticks >= candidateTicks) this.#candidates.delete(address);
      else this.#candidates.set(address, { ticks: ticks + 1, trusted });
      if (!good.has(address)) this.#askCandidate(address, trusted);
    }
    for (const [name, at] of this.#askedBack) {
      if (clock.monotonic() - at > askBackMs) this.#askedBack.delete(name);
    }
  }

  /** Runs a request, unless one with this name is running. */
  #once(name: string, kind: keyof typeof maxQuestions, ask: () => Promise<void>): void {
    if (this.#busy.has(name) || this.#signal === undefined || this.#signal.aborted) return;
    const asked = this.#slots[kind](ask).catch((error) =>
      this.#options.log.debug("question failed", { peer: name, reason: messageOf(error) })
    ).finally(() => this.#busy.delete(name));
    this.#busy.set(name, asked);
  }

  #askMember(member: Member | undefined): void {
    if (member === undefined) return;
    const isAnswering = member.answeredAt !== undefined && member.error === undefined;
    this.#once(member.id, isAnswering ? "answering" : "silent", () => this.#reach(member));
  }

  /** Asks a member whose connection has closed, once in a tick: some servers close after each answer. */
  async #closed(id: string | undefined): Promise<void> {
    if (id === undefined || this.#disconnected.has(id)) return;
    this.#disconnected.add(id);
    await this.#busy.get(id);
    this.#askMember(this.#options.membership.members.get(id));
  }

  /** Asks a member again that is still shown as reachable, though its last question failed. */
  async #askAgain(member: Member): Promise<void> {
    const { membership, clock } = this.#options;
    if (membership.reach(member, clock.monotonic()) === "unreachable") return;
    try {
      await clock.sleep(times.againMs, this.#signal!);
    } catch {
      return; // The node stops.
    }
    this.#askMember(membership.members.get(member.id));
  }

  #askCandidate(address: string, trusted: boolean): void {
    if (this.#own.has(address)) return;
    this.#once(address, "possible", async () => {
      const failure = await attempt(() => this.#question(address, undefined, trusted));
      if (failure === undefined) return;
      this.#options.log.debug("a possible node does not answer", {
        address,
        reason: messageOf(failure),
      });
    });
  }

  /** Asks a member at the address that answered last; if that fails, at its other addresses. */
  async #reach(member: Member): Promise<void> {
    const { membership, clock } = this.#options;
    // Ask each process that uses the id, to see whether more than one still runs.
    const twins = new Set([...member.instances.values()].map(({ address }) => address));
    if (twins.size > 1) {
      await Promise.allSettled(
        [...twins].slice(0, maxTries).map((each) => this.#question(each, member)),
      );
      return;
    }
    const known = dialable(member.addresses).filter((each) => !this.#own.has(each));
    const [first, ...others] = bestFirst(known, member.good);
    if (first === undefined) return;
    const failure = await attempt(() => this.#question(first, member));
    if (failure === undefined) return;
    const rest = rotated(others, clock.monotonic() / times.tickMs).slice(0, maxTries - 1);
    const failures = await Promise.all(
      rest.map((each) => attempt(() => this.#question(each, member))),
    );
    if (failures.includes(undefined)) return;
    const refused = failure instanceof RefusedError && first === member.good;
    membership.failed(member.id, messageOf(failure), clock.monotonic(), refused);
    void this.#askAgain(member);
  }

  async #question(address: string, member?: Member, trusted = true): Promise<void> {
    const { client, clock, membership, staticPeers } = this.#options;
    const told = ownAddressList(this.#options);
    let known = member?.id;
    const reply = await client().ask(address, {
      method: "GET",
      path: "/api/cluster/node_local",
      headers: headersFor(member, trusted, this.#options),
      withinMs: times.answerMs,
      closed: () => void this.#closed(known),
    });
    const at = { now: clock.monotonic(), wall: clock.now() };
    const { id, isOwn, found } = take(reply, address, member, at, this.#options);
    known = id;
    if (member !== undefined) member.told = told;
    if (isOwn) this.#own.add(address);
    this.#candidates.delete(address);
    if (staticPeers.includes(address)) this.#aliases.set(address, id);
    for (const other of found) this.#askMember(membership.members.get(other));
  }
}

/** Sends our id and addresses, unless the member already has them. */
function headersFor(member: Member | undefined, trusted: boolean, options: PullOptions) {
  const { membership, bearer } = options;
  const { id, instance } = membership.self;
  const addresses = ownAddressList(options);
  return {
    ...(member !== undefined && member.told === addresses ? {} : {
      [askerHeader]: `${id}.${instance}`,
      [addressesHeader]: addresses,
    }),
    ...(member?.held === undefined ? {} : { "if-none-match": etagOf(member.held) }),
    ...(bearer !== undefined && trusted ? { authorization: `Bearer ${bearer()}` } : {}),
  };
}

function ownAddressList({ addresses }: PullOptions): string {
  return addresses().slice(0, limits.addresses).join(", ");
}

/** Takes an answer. @throws {Error} if it is not from a node of this cluster. */
function take(
  { status, headers, body, observed }: PeerReply,
  address: string,
  member: Member | undefined,
  at: { now: number; wall: number },
  { membership, cluster }: PullOptions,
): { id: string; isOwn: boolean; found: string[] } {
  if (status === 304 && member?.held !== undefined) {
    const etag = parseEtag(typeof headers.etag === "string" ? headers.etag : undefined);
    if (etag?.instance !== member.held.instance) {
      throw new Error("It answered for another process with its id");
    }
    membership.unchanged(
      member.id,
      etag.instance,
      address,
      observed,
      at,
      parseLoad(headers[loadHeader]),
    );
    return { id: member.id, isOwn: false, found: [] };
  }
  if (status === 401 || status === 403) {
    throw new Error(`It refuses this node (HTTP ${status}): ${detailOf(body)}`);
  }
  if (status !== 200) throw new Error(`It answered HTTP ${status}`);
  const answer = v.safeParse(nodeAnswer, parseJson(body));
  if (!answer.success) throw new Error("Its answer is not from a node");
  const { node } = answer.output;
  if (node.cluster !== cluster) {
    throw new Error(
      `It belongs to ${node.cluster === null ? "no cluster" : `cluster "${node.cluster}"`}`,
    );
  }
  const isOwn = node.id === membership.self.id && node.instance === membership.self.instance;
  const found = membership.answered(address, answer.output, observed, at);
  if (member !== undefined && node.id !== member.id) {
    throw new Error(`Another node answers at "${hostOf(address)}"`);
  }
  return { id: node.id, isOwn, found };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // The schema refuses it.
  }
}

/** The detail of a problem document, shortened. */
function detailOf(body: string): string {
  const problem = parseJson(body) as { detail?: unknown } | undefined;
  return typeof problem?.detail === "string" ? problem.detail.slice(0, 200) : "no reason given";
}

/** @returns why it failed; undefined if it did not. */
async function attempt(ask: () => Promise<void>): Promise<Error | undefined> {
  try {
    await ask();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function rotated<T>(list: T[], by: number): T[] {
  if (list.length === 0) return list;
  const at = Math.floor(by) % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}
