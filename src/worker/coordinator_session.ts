import { messageOf } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { backoffMs } from "../base/retry.ts";
import { attemptKey } from "../tasks/orders.ts";
import {
  TaskError,
  type WorkerHello,
  type WorkerService,
  type WorkerSession,
  type WorkerSink,
} from "../tasks/service.ts";
import type { Assignment, AttemptRef } from "../tasks/task.ts";
import { deliver, type Delivery } from "./delivery.ts";
import type { Held } from "./running_attempt.ts";
import { heldUntil, leaseUntil } from "./lease.ts";

/**
 * Until the next try to connect. The longest is a fraction of the 11 s after which a worker gives its
 * tasks up: several tries must fit in.
 */
const reconnect = { firstMs: 100, factor: 2, longestMs: 3_000 };

/** Until the next try to deliver what the coordinator could not take: a full disk, say. */
const redeliver = { firstMs: 200, factor: 2, longestMs: 5_000 };

/** After so many refusals of an upload, in some seconds, the result is told without it. */
const refusals = 5;

/** Without an acknowledged heartbeat a session is given up: a new connection may find a way. */
const silenceMs = 6_000;

/** Why the worker ends a session of its own accord. */
const unheard = new TaskError("unavailable", "The coordinator does not answer heartbeats");
const takesCreditsBack = new TaskError("unavailable", "The worker takes its credits back");

/** What happens in a session, told to whoever keeps the slots. */
export interface LinkEvents {
  assigned(link: Link, assignments: Assignment[]): void;
  cancel(link: Link, held: Held): void;
  /** Delivered and acknowledged, or no longer this worker's. */
  settled(link: Link, held: Held, how: "delivered" | "superseded" | "lost"): void;
  /** The leases may be relied on for so long. */
  renewed(link: Link, forMs: number): void;
  /** Connected, or draining or not any more: there may be new credits to give. */
  changed(link: Link): void;
  /** The session is over: what waits for a slot is given away by the coordinator. */
  cut(link: Link): void;
}

export interface LinkOptions {
  address: string;
  service: WorkerService;
  hello: Omit<WorkerHello, "held">;
  events: LinkEvents;
  delivery: Omit<Delivery, "service" | "signal">;
  clock: Clock;
  log: Log;
  random: () => number;
}

/** The worker's connection to one coordinator, with the attempts that it holds of it. */
export class Link {
  readonly held = new Map<string, Held>();
  session: WorkerSession | undefined;
  draining = false;
  /** Credits that it has not used yet. */
  credit = 0;
  #creditSince = 0;
  running = 0;
  servedAt = 0;
  readonly queue: Held[] = [];
  #scope = new AbortController();
  #endSession: ((error: TaskError) => void) | undefined;
  #lastBeatAt = -Infinity;

  constructor(readonly options: LinkOptions) {}

  get address(): string {
    return this.options.address;
  }

  /** Takes part in the sharing of slots. */
  get open(): boolean {
    return this.session !== undefined && !this.draining;
  }

  get queued(): number {
    return this.queue.length;
  }

  /** For how long it has had credits and used none of them. */
  get unusedMs(): number {
    return this.credit === 0 ? 0 : this.options.clock.monotonic() - this.#creditSince;
  }

  grant(count: number): void {
    if (this.credit === 0) this.#creditSince = this.options.clock.monotonic();
    this.credit += count;
    this.session?.credit(count);
  }

  /** Keeps a session, until the signal aborts. */
  async serve(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.options;
    const log = this.options.log.with({ coordinator: this.address });
    for (let failures = 0; !signal.aborted;) {
      let begunAt = Infinity;
      try {
        const end = await this.#serveSession(signal, () => begunAt = clock.monotonic());
        // One that ends as soon as it has begun, as over an order that no worker takes, would
        // otherwise be begun again without a pause.
        const lastedMs = clock.monotonic() - begunAt;
        if (end === takesCreditsBack || lastedMs >= reconnect.longestMs) failures = 0;
        const level = signal.aborted || end === takesCreditsBack ? "debug" : "warn";
        log[level]("session ended", { error: end.message, code: end.code });
      } catch (error) {
        if (signal.aborted) return;
        // The first says it all; the others are for who looks closely.
        const level = failures === 0 ? "warn" : "debug";
        const next = error instanceof TaskError ? error.next : undefined;
        log[level]("cannot connect", { error: messageOf(error), next });
      }
      const waitMs = backoffMs(reconnect, ++failures, random());
      await clock.sleep(waitMs, signal).catch(() => {/* The loop ends. */});
    }
  }

  /**
   * Begins a new session, in which the coordinator has no credits: they cannot be taken back
   * otherwise. What it assigns meanwhile is not named in the new one's Hello, and given away at once.
   */
  revokeCredits(): void {
    if (this.credit > 0) this.#endSession?.(takesCreditsBack);
  }

  /** Delivers whatever there is, and then the result. */
  async deliver(held: Held): Promise<void> {
    const { session } = this;
    const { signal } = this.#scope;
    const { clock, random, log, service } = this.options;
    if (session === undefined || held.deliveredIn === signal) return;
    held.deliveredIn = signal;
    for (let failures = 0; !signal.aborted && held.phase !== "gone";) {
      try {
        const isPlain = held.phase === "finished" && !held.hasOutput && held.files.length === 0;
        if (!isPlain) await deliver(held, { ...this.options.delivery, service, signal });
        if (held.phase === "finished" && !signal.aborted) session.finished(held.result!);
        return;
      } catch (error) {
        if (signal.aborted) return;
        log.warn("cannot deliver", { attempt: held.key, error: messageOf(error) });
        // Whether the lease is lost is not an upload's to say: one may also be refused because a
        // session ends. The answer to the result says it.
        if (isFinal(error) && failures >= refusals && held.phase === "finished") {
          held.note(`Not all of it could be stored: ${messageOf(error)}`);
          return session.finished(held.result!);
        }
        const waitMs = backoffMs(redeliver, ++failures, random());
        await clock.sleep(waitMs, signal).catch(() => {/* The loop ends. */});
      }
    }
  }

  /** One session, from its beginning to its end; throws where it did not begin. */
  async #serveSession(signal: AbortSignal, begun: () => void): Promise<TaskError> {
    const { service, hello, events, clock, log } = this.options;
    const ended = Promise.withResolvers<TaskError>();
    const scope = this.#scope = new AbortController();
    for (const held of this.queue.splice(0)) this.#drop(held);
    const names = [...this.held.values()].filter((held) => held.result?.state !== "lost");
    for (const held of [...this.held.values()]) {
      // The coordinator gives away what is not named.
      if (held.result?.state === "lost") events.settled(this, held, "lost");
    }
    const sentAt = clock.monotonic();
    const session = await service.connect(
      { ...hello, held: names.map(({ ref }) => ref) },
      this.#sink(ended.resolve),
    );
    this.#endSession = ended.resolve;
    const stop = () => ended.resolve(new TaskError("unavailable", "The worker stops"));
    signal.addEventListener("abort", stop, { once: true });
    try {
      if (signal.aborted) stop();
      for (const ref of session.lost) {
        const held = this.held.get(attemptKey(ref));
        if (held !== undefined) events.settled(this, held, "lost");
      }
      // Only an acknowledged heartbeat renews leases, and without one nothing may be started.
      const unanswered = await Promise.race([
        session.heartbeat().then(() => undefined),
        ended.promise,
        clock.sleep(silenceMs, scope.signal).then(() => unheard),
      ]);
      if (unanswered !== undefined) return unanswered;
      this.#renew(sentAt, session.leaseMs);
      this.session = session;
      this.draining = session.draining;
      this.credit = 0;
      begun();
      log.info("connected", { coordinator: this.address, held: this.held.size });
      for (const held of this.held.values()) {
        if (held.phase === "finished" || held.hasOutput) this.deliver(held);
      }
      events.changed(this);
      return await Promise.race([ended.promise, this.#beat(session, scope.signal)]);
    } finally {
      signal.removeEventListener("abort", stop);
      this.session = this.#endSession = undefined;
      this.credit = 0;
      scope.abort(new TaskError("unavailable", "The session is over"));
      session.closed();
      events.cut(this);
    }
  }

  /** Heartbeats, until there was no answer for too long. */
  async #beat(session: WorkerSession, signal: AbortSignal): Promise<TaskError> {
    const { clock } = this.options;
    while (!signal.aborted) {
      await clock.sleep(session.heartbeatMs, signal).catch(() => {/* The loop ends. */});
      const sentAt = clock.monotonic();
      if (sentAt - this.#lastBeatAt > silenceMs) {
        return unheard;
      }
      session.heartbeat().then(
        () => this.#renew(sentAt, session.leaseMs),
        () => {/* The sink hears of the end. */},
      );
    }
    return new TaskError("unavailable", "The session is over");
  }

  #renew(sentAt: number, leaseMs: number): void {
    this.#lastBeatAt = Math.max(this.#lastBeatAt, sentAt);
    const until = leaseUntil(sentAt, leaseMs);
    this.options.events.renewed(this, until - this.options.clock.monotonic());
  }

  #sink(end: (error: TaskError) => void): WorkerSink {
    const { events, clock } = this.options;
    return {
      assign: (assignments) => {
        this.credit = Math.max(0, this.credit - assignments.length);
        this.#creditSince = clock.monotonic();
        events.assigned(this, assignments);
      },
      cancel: (ref) => {
        const held = this.held.get(attemptKey(ref));
        if (held !== undefined) events.cancel(this, held);
      },
      finishedAck: (ref, superseded) => {
        const held = this.held.get(attemptKey(ref));
        if (held?.phase !== "finished") return;
        events.settled(this, held, superseded ? "superseded" : "delivered");
      },
      drain: (draining) => {
        this.draining = draining;
        events.changed(this);
      },
      hold: (holdMs) => {
        events.renewed(this, heldUntil(this.#lastBeatAt, holdMs) - clock.monotonic());
      },
      end,
    };
  }

  /** What has not begun, and is somebody else's with the end of the session. */
  #drop(held: Held): void {
    this.held.delete(held.key);
    held.forget();
  }

  /** Gives back what has not begun. */
  release(refuse: (held: Held) => boolean): number {
    const back = this.queue.filter(refuse);
    if (back.length === 0) return 0;
    const refs: AttemptRef[] = [];
    for (const held of back) {
      this.queue.splice(this.queue.indexOf(held), 1);
      this.#drop(held);
      refs.push(held.ref);
    }
    this.session?.released(refs);
    return refs.length;
  }
}

/** Another try will hardly end otherwise. */
function isFinal(error: unknown): boolean {
  return error instanceof TaskError && ["conflict", "not_found", "invalid"].includes(error.code);
}
