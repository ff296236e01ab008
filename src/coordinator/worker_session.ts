import type { Clock } from "../base/clock.ts";
import { validateResult, validateTrouble } from "../tasks/validation.ts";
import type { Assignee, Lease, LeaseHolder, LeaseTable } from "./lease_table.ts";
import { leaseTimes, limits } from "../tasks/limits.ts";
import type { Resources } from "../tasks/resources.ts";
import { selectable } from "../tasks/selectors.ts";
import {
  type ServedSession,
  TaskError,
  type WorkerHello,
  type WorkerSink,
} from "../tasks/service.ts";
import type { Assignment, AttemptRef, AttemptResult, Labels } from "../tasks/task.ts";

/** What a session tells the registry that keeps it. */
export interface SessionEvents {
  /** The worker is there: Hello or a heartbeat came. */
  heard(): void;
  /** Assignments wait for `deliver`. */
  outgoing(session: Session): void;
  /** Called once, when the session is over. `byWorker`: the stream closed from the worker's side. */
  ended(session: Session, byWorker: boolean): void;
}

export interface SessionOptions {
  hello: WorkerHello;
  holder: LeaseHolder;
  /** How long the worker may be out of touch before its attempts count as lost. */
  leaseMs: number;
  /** See `WorkerSession`. */
  inlineBytes: number;
  leaseTable: LeaseTable;
  clock: Clock;
  /** Attempts of Hello that are no longer the worker's own. */
  lost: AttemptRef[];
  sink: WorkerSink;
  /** Whether the worker is drained, now. */
  isDraining: () => boolean;
  events: SessionEvents;
}

/** One worker's stream, from Hello to its end. */
export class Session implements ServedSession, Assignee {
  readonly heartbeatMs = leaseTimes.heartbeatMs;
  readonly leaseMs: number;
  readonly inlineBytes: number;
  readonly smallFileBytes = limits.maxSmallFileBytes;
  readonly draining: boolean;
  readonly labels: Labels;
  readonly slots: number;
  readonly resources: Resources | undefined;
  readonly workerId: string;
  readonly address: string;
  readonly holder: LeaseHolder;
  readonly lost: AttemptRef[];
  credits = 0;
  /** Why the worker can start nothing at the moment. */
  trouble: string | undefined;
  /** The wire has had the time to send Welcome: the sink may be called. */
  open = false;
  #ended = false;
  #isBlocked = false;
  #lastHeartbeat: number;
  #outbox: Assignment[] = [];
  readonly #options: SessionOptions;

  constructor(options: SessionOptions) {
    const { hello, clock } = options;
    this.#options = options;
    this.holder = options.holder;
    this.leaseMs = options.leaseMs;
    this.inlineBytes = options.inlineBytes;
    this.lost = options.lost;
    this.workerId = hello.workerId;
    this.labels = selectable({ id: hello.workerId, labels: hello.labels });
    this.slots = hello.slots;
    this.resources = hello.resources;
    this.address = hello.address;
    this.draining = options.isDraining();
    this.#lastHeartbeat = clock.monotonic();
    this.#renew();
    setImmediate(() => this.#begin());
  }

  get held(): number {
    return this.holder.leases.size;
  }

  /** Whether it may be given work at `now`, if it has credits. */
  isReady(now: number): boolean {
    return this.open && !this.#isBlocked && this.trouble === undefined && !this.late(now);
  }

  silentMs(now: number): number {
    return now - this.#lastHeartbeat;
  }

  late(now: number): boolean {
    return this.silentMs(now) >= leaseTimes.lateAfterMs;
  }

  #renew(): void {
    const { clock, events } = this.#options;
    const wasLate = this.late(clock.monotonic());
    this.#lastHeartbeat = clock.monotonic();
    this.holder.heardAt = this.#lastHeartbeat;
    events.heard();
    if (wasLate) this.#assignSoon();
  }

  #begin(): void {
    if (this.#ended) return;
    this.open = true;
    const { sink, isDraining } = this.#options;
    for (const lease of this.holder.leases.values()) {
      if (lease.cancelRequested) sink.cancel(lease.ref);
    }
    if (isDraining() !== this.draining) sink.drain(!this.draining);
    this.#assignSoon();
  }

  #assignSoon(isPatient = false): void {
    if (this.open && this.credits > 0) this.#options.leaseTable.assignSoon(isPatient);
  }

  heartbeat(trouble?: string): Promise<void> {
    if (this.#ended) return Promise.reject(new TaskError("conflict", "The session has ended"));
    if (trouble !== undefined) validateTrouble(trouble);
    const hadTrouble = this.trouble !== undefined;
    this.trouble = trouble;
    this.#renew();
    if (hadTrouble && trouble === undefined) this.#assignSoon();
    return Promise.resolve();
  }

  credit(count: number): void {
    if (this.#ended) return;
    // A worker cannot hold more than this; the sum must not overflow.
    this.credits = Math.min(this.credits + Math.max(0, Math.trunc(count)), limits.maxHeld);
    // A worker whose slots are taken asks for what comes after that.
    this.#assignSoon(this.held >= this.slots);
  }

  started(ref: AttemptRef, at: number): void {
    if (!this.#ended) this.#options.leaseTable.started(ref, this.holder, at);
  }

  finished(result: AttemptResult): void {
    if (this.#ended) return;
    validateResult(result);
    const { leaseTable, sink } = this.#options;
    leaseTable.finished(result, this.holder, (superseded) => {
      if (!this.#ended) sink.finishedAck(result.ref, superseded);
    });
  }

  released(refs: AttemptRef[], reason?: string): void {
    if (this.#ended) return;
    if (reason !== undefined) validateTrouble(reason);
    const { leaseTable } = this.#options;
    for (const ref of refs) {
      const lease = leaseTable.current(ref);
      if (lease?.holder === this.holder) leaseTable.release(lease, reason);
    }
  }

  blocked(isBlocked: boolean): void {
    this.#isBlocked = isBlocked;
    if (!isBlocked) this.#assignSoon();
  }

  closed(): void {
    this.#end(true);
  }

  /** Queues an assignment; `deliver` sends all of a batch at once. */
  send(assignment: Assignment): void {
    this.#outbox.push(assignment);
    this.#options.events.outgoing(this);
  }

  deliver(): void {
    const assignments = this.#outbox;
    this.#outbox = [];
    if (!this.#ended) this.#options.sink.assign(assignments);
  }

  cancel(lease: Lease): void {
    if (this.open && lease.holder === this.holder) this.#options.sink.cancel(lease.ref);
  }

  drain(draining: boolean): void {
    if (!this.open) return;
    this.#options.sink.drain(draining);
    if (!draining) this.#assignSoon();
  }

  hold(holdMs: number): void {
    if (this.open) this.#options.sink.hold(holdMs);
  }

  /** Ends the session from this side. */
  finish(error: TaskError): void {
    if (this.#end(false)) this.#options.sink.end(error);
  }

  /** @returns whether it was not over before. */
  #end(byWorker: boolean): boolean {
    if (this.#ended) return false;
    this.#ended = true;
    this.open = false;
    this.credits = 0;
    this.#options.events.ended(this, byWorker);
    return true;
  }
}
