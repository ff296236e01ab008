/**
 * How a browser proves that it may: a bearer token or a single-use login token becomes a session, a
 * random value in a cookie that scripts cannot read. A new bearer token ends all sessions.
 */
import { createHash } from "node:crypto";
import type { Clock } from "../base/clock.ts";
import { sourceOf } from "../base/connection_limit.ts";
import { newToken, Secret } from "./identity.ts";
import type { SessionFile } from "./kept_sessions.ts";

/** A session that is not used for this long ends: a week of work with its weekend. */
const sessionMs = 7 * 86_400_000;
/** More browsers than use one node; the one unused for longest makes room. */
const maxSessions = 1_000;
/** Login URLs that were made and not used; each banner and each `agent token url` makes one. */
const maxLogins = 1_000;
/** Each use prolongs a session; it is written no more often than this. */
const writeMs = 3_600_000;

/** Wrong tokens that one address may try at once, and how fast it gets further ones. */
const guessBurst = 10;
const guessesPerSecond = 0.5;
/** Addresses that are counted; the oldest is dropped, which never helps one that keeps guessing. */
const maxSources = 10_000;

export interface SessionsOptions {
  clock: Clock;
  /** The bearer token as it is now. */
  token: () => string;
  /** Where sessions outlive the process. */
  file: SessionFile;
}

export class Sessions {
  readonly #options: SessionsOptions;
  readonly #bearer: Secret;
  /** By hash: when each ends, the one unused for longest first. */
  readonly #sessions = new Map<string, number>();
  readonly #logins = new Map<string, number>();
  readonly #guesses = new Map<string, { left: number; at: number }>();
  #writtenAt: number;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#bearer = new Secret(options.token);
    const now = options.clock.now();
    this.#writtenAt = now;
    const kept = options.file.read();
    if (kept === undefined || kept.tokenHash !== hashOf(options.token())) return;
    // Written under a clock that was ahead, they would last for longer than they may.
    const latest = now + sessionMs;
    for (const [hash, end] of kept.sessions) {
      if (end > now) this.#sessions.set(hash, Math.min(end, latest));
    }
    trim(this.#sessions, maxSessions);
    if ([...kept.sessions.values()].some((end) => end > latest)) this.#write();
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
    this.#sessions.set(hashOf(session), now + sessionMs);
    this.#write();
    return session;
  }

  /** Whether the session is open; each use prolongs it. */
  isOpen(session: string): boolean {
    const hash = hashOf(session);
    const end = this.#sessions.get(hash);
    const now = this.#options.clock.now();
    this.#sessions.delete(hash);
    if (end === undefined || end < now) return false;
    this.#sessions.set(hash, now + sessionMs);
    if (Math.abs(now - this.#writtenAt) > writeMs) this.#write();
    return true;
  }

  close(session: string): void {
    if (this.#sessions.delete(hashOf(session))) this.#write();
  }

  /** All sessions and login tokens end. */
  closeAll(): void {
    this.#sessions.clear();
    this.#logins.clear();
    this.#write();
  }

  #write(): void {
    const { clock, file, token } = this.#options;
    this.#writtenAt = clock.now();
    file.write({ sessions: this.#sessions, tokenHash: hashOf(token()) });
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

/** Of random values of 256 bits, for which one round is enough. */
function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("base64url");
}

/** Removes the oldest entries beyond `most`. */
function trim(map: Map<string, unknown>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}
