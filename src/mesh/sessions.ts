/**
 * How a browser proves that it may: a bearer token or a single-use login token becomes a session, a
 * random value in a cookie that scripts cannot read. Sessions live in memory: a restart of the node
 * ends them, and so does a new bearer token.
 */
import type { Clock } from "../base/clock.ts";
import { sourceOf } from "../base/connection_limit.ts";
import { newToken, Secret } from "./identity.ts";

/** A session that is not used for this long ends: a week of work with its weekend. */
const sessionMs = 7 * 86_400_000;
/** More browsers than use one node; the one unused for longest makes room. */
const maxSessions = 1_000;
/** Login URLs that were made and not used; each banner and each `agent token url` makes one. */
const maxLogins = 1_000;

/** Wrong tokens that one address may try at once, and how fast it gets further ones. */
const guessBurst = 10;
const guessesPerSecond = 0.5;
/** Addresses that are counted; the oldest is dropped, which never helps one that keeps guessing. */
const maxSources = 10_000;

export interface SessionsOptions {
  clock: Clock;
  /** The bearer token as it is now. */
  token: () => string;
}

export class Sessions {
  readonly #options: SessionsOptions;
  readonly #bearer: Secret;
  readonly #sessions = new Map<string, number>();
  readonly #logins = new Map<string, number>();
  readonly #guesses = new Map<string, { left: number; at: number }>();

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#bearer = new Secret(options.token);
  }

  isBearer(token: string): boolean {
    return this.#bearer.is(token);
  }

  /** A login token for one use within `ms`. */
  newLogin(ms: number): { token: string; expiresAt: number } {
    const token = newToken();
    const now = this.#options.clock.now();
    for (const [each, end] of this.#logins) if (end < now) this.#logins.delete(each);
    trim(this.#logins, maxLogins - 1);
    this.#logins.set(token, now + ms);
    return { token, expiresAt: now + ms };
  }

  /** A session for a bearer token or an unused login token; undefined for anything else. */
  open(token: string): string | undefined {
    const now = this.#options.clock.now();
    const end = this.#logins.get(token);
    this.#logins.delete(token);
    if (!this.isBearer(token) && (end === undefined || end < now)) return undefined;
    const session = newToken();
    trim(this.#sessions, maxSessions - 1);
    this.#sessions.set(session, now + sessionMs);
    return session;
  }

  /** Whether the session is open; each use prolongs it. */
  isOpen(session: string): boolean {
    const end = this.#sessions.get(session);
    const now = this.#options.clock.now();
    this.#sessions.delete(session);
    if (end === undefined || end < now) return false;
    this.#sessions.set(session, now + sessionMs);
    return true;
  }

  close(session: string): void {
    this.#sessions.delete(session);
  }

  /** All sessions and login tokens end. */
  closeAll(): void {
    this.#sessions.clear();
    this.#logins.clear();
  }

  /**
   * How long an address must wait before it may try another token, in milliseconds; 0: it may now.
   * Only wrong tokens count, for all addresses of an IPv6 /64 together.
   */
  waitMs(address: string): number {
    const { left } = this.#allowance(address);
    return left >= 1 ? 0 : Math.ceil((1 - left) / guessesPerSecond) * 1000;
  }

  wrongGuess(address: string): void {
    const { left, at } = this.#allowance(address);
    const source = sourceOf(address);
    this.#guesses.delete(source);
    trim(this.#guesses, maxSources - 1);
    this.#guesses.set(source, { left: Math.max(0, left - 1), at });
  }

  #allowance(address: string): { left: number; at: number } {
    const now = this.#options.clock.monotonic();
    const known = this.#guesses.get(sourceOf(address)) ?? { left: guessBurst, at: now };
    const gained = (now - known.at) / 1000 * guessesPerSecond;
    return { left: Math.min(guessBurst, known.left + gained), at: now };
  }
}

/** Removes the oldest entries beyond `most`. */
function trim(map: Map<string, unknown>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}
