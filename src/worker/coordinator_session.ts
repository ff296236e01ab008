import { messageOf } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { sharedPauseMs } from "../base/lifetimes.ts";
import { backoffMs } from "../base/retry.ts";
import { attemptKey, type Order } from "../tasks/orders.ts";
import {
  TaskError,
  type WorkerHello,
  type WorkerService,
  type WorkerSession,
  type WorkerSink,
} from "../tasks/service.ts";
import type { Assignment, AttemptRef } from "../tasks/task.ts";
import { deliver, type Delivery } from "./delivery.ts";
import type { RunningAttempt } from "./running_attempt.ts";
import { leaseName, type LeaseTerms, validUntil } from "./lease.ts";

/**
 * Pauses between tries to connect. Several tries must fit into the time after which a worker ends its
 * tasks; with the shortest lease that is 11 s.
 */
const reconnect = { firstMs: 100, factor: 2, longestMs: 3_000 };

/** Pauses between tries to deliver something that the coordinator could not store. */
const redeliver = { firstMs: 200, factor: 2, longestMs: 5_000 };

/** After this many refusals of an upload, within seconds, the result is sent without it. */
const refusals = 5;

/** A session without an acknowledged heartbeat for this time is ended: a new connection may work. */
const silenceMs = 6_000;

/** How often to check whether the runner answers again. */
const runnerWaitMs = 500;

/** Why the worker itself ends a session. */
const unheard = new TaskError("unavailable", "The coordinator does not answer heartbeats");
const stuckRunner = new TaskError("unavailable", "The runner of this worker does not answer");
const revokesCredits = new TaskError("unavailable", "The worker revokes its credits");

/** Implemented by the owner of the slots: the events of a session, and facts that a session needs. */
export interface SessionEvents {
  /** Why no task can be started on this host; sent with each heartbeat. */
  readonly trouble: string | undefined;
  /** False: no lease is renewed, because the runner could not end processes in time. */
  readonly runnerAnswers: boolean;
  assigned(session: CoordinatorSession, assignments: Assignment[]): void;
  cancel(session: CoordinatorSession, attempt: RunningAttempt): void;
  /** The attempt was delivered and acknowledged, or no longer belongs to this worker. */
  settled(
    session: CoordinatorSession,
    attempt: RunningAttempt,
    how: "delivered" | "superseded" | "lost",
  ): void;
  /** Its leases are valid for longer: see `renewals`. */
  renewed(session: CoordinatorSession): void;
  /** The session has started, or the drain state has changed: it may need new credits. */
  changed(session: CoordinatorSession): void;
  /** The session has ended: the coordinator gives waiting attempts to other workers. */
  cut(session: CoordinatorSession): void;
}

export interface CoordinatorSessionOptions {
  address: string;
  service: WorkerService;
  hello: Omit<WorkerHello, "held">;
  events: SessionEvents;
  delivery: Omit<Delivery, "service" | "signal" | "smallFileBytes">;
  clock: Clock;
  log: Log;
  random: () => number;
}

/** The worker's connection to one coordinator, and the attempts that this coordinator assigned. */
export class CoordinatorSession {
  readonly attempts = new Map<string, RunningAttempt>();
  connection: WorkerSession | undefined;
  draining = false;
  /** Credits that the coordinator has not used yet. */
  credit = 0;
  #creditSince = 0;
  running = 0;
  servedAt = 0;
  /** Whether the runner was told how long attempts without a lease of their own may run. */
  isRenewed = false;
  readonly queue: RunningAttempt[] = [];
  #scope = new AbortController();
  #endSession: ((error: TaskError) => void) | undefined;
  #terms: LeaseTerms = { sentAt: -Infinity, leaseMs: 0 };

  constructor(readonly options: CoordinatorSessionOptions) {}

  get address(): string {
    return this.options.address;
  }

  /** Whether it gets slots. */
  get open(): boolean {
    return this.connection !== undefined && !this.draining;
  }

  get queued(): number {
    return this.queue.length;
  }

  /** For how long the coordinator has had credits and used none of them. */
  get unusedMs(): number {
    return this.credit === 0 ? 0 : this.options.clock.monotonic() - this.#creditSince;
  }

  grant(count: number): void {
    if (this.credit === 0) this.#creditSince = this.options.clock.monotonic();
    this.credit += count;
    this.connection?.credit(count);
  }

  /** Keeps a session, until the signal aborts. */
  async serve(signal: AbortSignal): Promise<void> {
    const { clock, random } = this.options;
    const log = this.options.log.with({ coordinator: this.address });
    for (let failures = 0; !signal.aborted;) {
      while (!this.options.events.runnerAnswers && !signal.aborted) {
        await clock.sleep(runnerWaitMs, signal).catch(() => {/* The loop ends. */});
      }
      let begunAt = Infinity;
      try {
        const end = await this.#serveSession(signal, () => begunAt = clock.monotonic());
        // A session that ends at once, such as over an order that no worker takes, must not
        // start again without a pause.
        const lastedMs = clock.monotonic() - begunAt;
        if (end === revokesCredits || lastedMs >= reconnect.longestMs) failures = 0;
        const level = signal.aborted || end === revokesCredits ? "debug" : "warn";
        log[level]("session ended", { error: end.message, code: end.code });
      } catch (error) {
        if (signal.aborted) return;
        // One warning is enough; the next failures are for debugging.
        const level = failures === 0 ? "warn" : "debug";
        const next = error instanceof TaskError ? error.next : undefined;
        log[level]("cannot connect", { error: messageOf(error), next });
      }
      const waitMs = backoffMs(reconnect, ++failures, random());
      await clock.sleep(waitMs, signal).catch(() => {/* The loop ends. */});
    }
  }

  /**
   * Starts a new session, in which the coordinator has no credits: there is no other way to take them
   * back. Attempts assigned meanwhile are not named in its Hello, so the coordinator reassigns them.
   */
  revokeCredits(): void {
    if (this.credit > 0) this.#endSession?.(revokesCredits);
  }

  /** Delivers output and artifacts, then the result. */
  async deliver(attempt: RunningAttempt): Promise<void> {
    const { connection } = this;
    const { signal } = this.#scope;
    const { clock, random, log, service } = this.options;
    if (connection === undefined || attempt.deliveredIn === signal) return;
    attempt.deliveredIn = signal;
    for (let failures = 0; !signal.aborted && attempt.phase !== "gone";) {
      try {
        const output = attempt.files.length === 0 && attempt.hasOutput
          ? attempt.inlineOutput(connection.inlineBytes)
          : undefined;
        if (output !== undefined) return connection.finished({ ...attempt.result!, output });
        const isPlain = attempt.phase === "finished" && !attempt.hasOutput &&
          attempt.files.length === 0;
        if (!isPlain) {
          attempt.toldOutput = true;
          const { smallFileBytes = 0 } = connection;
          await deliver(attempt, { ...this.options.delivery, service, signal, smallFileBytes });
        }
        if (attempt.phase === "finished" && !signal.aborted) connection.finished(attempt.result!);
        return;
      } catch (error) {
        if (signal.aborted) return;
        log.warn("cannot deliver", { attempt: attempt.key, error: messageOf(error) });
        // A refused upload does not prove that the lease is lost: the session may have ended. The
        // answer to the result decides.
        if (isFinal(error) && failures >= refusals && attempt.phase === "finished") {
          attempt.note(`Not all output and artifacts could be stored: ${messageOf(error)}`);
          return connection.finished(attempt.result!);
        }
        const waitMs = backoffMs(redeliver, ++failures, random());
        await clock.sleep(waitMs, signal).catch(() => {/* The loop ends. */});
      }
    }
  }

  /** One session, from start to end; throws if it could not start. */
  async #serveSession(signal: AbortSignal, begun: () => void): Promise<TaskError> {
    const { service, hello, events, clock, log } = this.options;
    const ended = Promise.withResolvers<TaskError>();
    const scope = this.#scope = new AbortController();
    for (const attempt of this.queue.splice(0)) this.#drop(attempt);
    const kept = [...this.attempts.values()].filter((attempt) => attempt.result?.state !== "lost");
    for (const attempt of [...this.attempts.values()]) {
      // The coordinator reassigns attempts that Hello does not name.
      if (attempt.result?.state === "lost") events.settled(this, attempt, "lost");
    }
    const sentAt = clock.monotonic();
    const connection = await service.connect(
      { ...hello, held: kept.map(({ ref }) => ref) },
      this.#sink(ended.resolve),
    );
    this.#endSession = ended.resolve;
    const stop = () => ended.resolve(new TaskError("unavailable", "The worker is stopping"));
    signal.addEventListener("abort", stop, { once: true });
    try {
      if (signal.aborted) stop();
      for (const ref of connection.lost) {
        const attempt = this.attempts.get(attemptKey(ref));
        if (attempt !== undefined) events.settled(this, attempt, "lost");
      }
      // Only an acknowledged heartbeat renews leases; without one nothing may be started.
      const unanswered = await Promise.race([
        connection.heartbeat(events.trouble).then(() => undefined),
        ended.promise,
        clock.sleep(silenceMs, scope.signal).then(() => unheard),
      ]);
      if (unanswered !== undefined) return unanswered;
      this.#renew(sentAt, connection.leaseMs);
      this.connection = connection;
      this.draining = connection.draining;
      this.credit = 0;
      begun();
      log.info("connected", { coordinator: this.address, attempts: this.attempts.size });
      for (const attempt of this.attempts.values()) {
        if (attempt.phase === "finished" || attempt.hasOutput) this.deliver(attempt);
      }
      events.changed(this);
      return await Promise.race([ended.promise, this.#beat(connection, scope.signal)]);
    } finally {
      signal.removeEventListener("abort", stop);
      this.connection = this.#endSession = undefined;
      this.credit = 0;
      scope.abort(new TaskError("unavailable", "The session has ended"));
      connection.closed();
      events.cut(this);
    }
  }

  /** Sends heartbeats until one is not answered for too long. */
  async #beat(connection: WorkerSession, signal: AbortSignal): Promise<TaskError> {
    const { clock } = this.options;
    const { events } = this.options;
    while (!signal.aborted) {
      const pauseMs = sharedPauseMs(connection.heartbeatMs, clock.monotonic());
      await clock.sleep(pauseMs, signal).catch(() => {/* The loop ends. */});
      const silentMs = clock.monotonic() - this.#terms.sentAt;
      if (silentMs > silenceMs) return events.runnerAnswers ? unheard : stuckRunner;
      if (events.runnerAnswers) this.#heartbeat(connection);
    }
    return new TaskError("unavailable", "The session has ended");
  }

  #heartbeat(connection: WorkerSession): void {
    const sentAt = this.options.clock.monotonic();
    connection.heartbeat(this.options.events.trouble).then(
      () => this.#renew(sentAt, connection.leaseMs),
      () => {/* The sink is called at the end of the session. */},
    );
  }

  #renew(sentAt: number, leaseMs: number): void {
    this.#terms = { sentAt: Math.max(this.#terms.sentAt, sentAt), leaseMs };
    this.options.events.renewed(this);
  }

  /** Renews the leases of what runs, for as long as the coordinator promised. */
  renewals(): Order[] {
    this.isRenewed = true;
    const lengths = new Set<number | undefined>([undefined]);
    for (const { assignment, isRunning } of this.attempts.values()) {
      if (isRunning) lengths.add(assignment?.spec.lostAfterMs);
    }
    return [...lengths].map((lostAfterMs) => this.#renewal(lostAfterMs));
  }

  #renewal(lostAfterMs: number | undefined): Order {
    const { clock, address } = this.options;
    const forMs = Math.max(0, validUntil(this.#terms, lostAfterMs) - clock.monotonic());
    return { kind: "renew", lease: leaseName(address, lostAfterMs), forMs, sentAt: clock.now() };
  }

  startOrders({ key, assignment }: RunningAttempt): Order[] {
    const { spec, arrayIndex, ref: { taskId }, granted } = assignment!;
    const { argv, env, cwd, timeoutMs, artifacts, stdin, lostAfterMs } = spec;
    const lease = leaseName(this.address, lostAfterMs);
    const start: Order = {
      ...{ kind: "start", key, lease, taskId, arrayIndex },
      ...{ argv, env, cwd, timeoutMs, artifacts, stdin, granted },
    };
    // Nothing else that runs may have a lease of this length.
    if (lostAfterMs === undefined && this.isRenewed) return [start];
    this.isRenewed ||= lostAfterMs === undefined;
    return [this.#renewal(lostAfterMs), start];
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
        const attempt = this.attempts.get(attemptKey(ref));
        if (attempt !== undefined) events.cancel(this, attempt);
      },
      finishedAck: (ref, superseded) => {
        const attempt = this.attempts.get(attemptKey(ref));
        if (attempt?.phase !== "finished") return;
        events.settled(this, attempt, superseded ? "superseded" : "delivered");
      },
      drain: (draining) => {
        this.draining = draining;
        events.changed(this);
      },
      hold: (holdMs) => {
        this.#terms = { ...this.#terms, holdMs };
        events.renewed(this);
      },
      end,
    };
  }

  /** Drops an attempt that has not started. */
  #drop(attempt: RunningAttempt): void {
    this.attempts.delete(attempt.key);
    attempt.forget();
  }

  /** Tells the coordinator at once that this host cannot start tasks, or can again. */
  tellTrouble(): void {
    if (this.connection !== undefined) this.#heartbeat(this.connection);
  }

  /** Gives back an attempt that this host could not start. */
  handBack(attempt: RunningAttempt, reason: string): void {
    this.#drop(attempt);
    this.connection?.released([attempt.ref], reason);
  }

  /**
   * Gives back attempts that wait for a slot.
   *
   * @param reason why this host cannot start them; absent: another worker may have a slot.
   */
  release(refuse: (attempt: RunningAttempt) => boolean, reason?: string): number {
    const back = this.queue.filter(refuse);
    if (back.length === 0) return 0;
    const refs: AttemptRef[] = [];
    for (const attempt of back) {
      this.queue.splice(this.queue.indexOf(attempt), 1);
      this.#drop(attempt);
      refs.push(attempt.ref);
    }
    this.connection?.released(refs, reason);
    return refs.length;
  }
}

/** Whether another try is pointless. */
function isFinal(error: unknown): boolean {
  return error instanceof TaskError && ["conflict", "not_found", "invalid"].includes(error.code);
}
