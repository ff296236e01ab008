import { validateResult } from "../tasks/validation.ts";
import type { KnownWorker, WorkerRegistry } from "./worker_registry.ts";
import type { Assignee, Lease, LeaseHolder } from "./lease_table.ts";
import { leaseTimes, limits } from "../tasks/limits.ts";
import {
  TaskError,
  type WorkerHello,
  type WorkerSession,
  type WorkerSink,
} from "../tasks/service.ts";
import type { Assignment, AttemptRef, AttemptResult, Labels } from "../tasks/task.ts";

/** One worker's stream, from Hello to its end. */
export class Session implements WorkerSession, Assignee {
  readonly heartbeatMs = leaseTimes.heartbeatMs;
  readonly leaseMs = leaseTimes.leaseMs;
  readonly draining: boolean;
  readonly labels: Labels;
  readonly slots: number;
  readonly address: string;
  credits = 0;
  /** May be told things: the wire has had the time to send Welcome. */
  open = false;
  #ended = false;
  #lastHeartbeat: number;
  #outbox: Assignment[] = [];

  constructor(
    readonly registry: WorkerRegistry,
    readonly worker: KnownWorker,
    readonly holder: LeaseHolder,
    hello: WorkerHello,
    readonly lost: AttemptRef[],
    readonly sink: WorkerSink,
  ) {
    this.labels = hello.labels;
    this.slots = hello.slots;
    this.address = hello.address;
    this.draining = worker.stored.draining;
    this.#lastHeartbeat = registry.leaseTable.clock.monotonic();
    this.#renew();
    setImmediate(() => this.#begin());
  }

  get held(): number {
    return this.holder.leases.size;
  }

  silentMs(now: number): number {
    return now - this.#lastHeartbeat;
  }

  late(now: number): boolean {
    return this.silentMs(now) >= leaseTimes.lateAfterMs;
  }

  #renew(): void {
    const { clock } = this.registry.leaseTable;
    const wasLate = this.late(clock.monotonic());
    this.#lastHeartbeat = clock.monotonic();
    this.holder.leaseUntil = this.#lastHeartbeat + leaseTimes.leaseMs;
    this.worker.lastHeartbeatAt = clock.now();
    if (wasLate && this.credits > 0) this.registry.leaseTable.commits.poke();
  }

  #begin(): void {
    if (this.#ended) return;
    this.open = true;
    for (const lease of this.holder.leases.values()) {
      if (lease.cancelRequested) this.sink.cancel(lease.ref);
    }
    if (this.worker.stored.draining !== this.draining) this.sink.drain(!this.draining);
    if (this.credits > 0) this.registry.leaseTable.commits.poke();
  }

  heartbeat(): Promise<void> {
    if (this.#ended) return Promise.reject(new TaskError("conflict", "The session has ended"));
    this.#renew();
    return Promise.resolve();
  }

  credit(count: number): void {
    if (this.#ended) return;
    // More than this no worker can hold; a wrong count must not overflow anything.
    this.credits = Math.min(this.credits + Math.max(0, Math.trunc(count)), limits.maxHeld);
    if (this.open) this.registry.leaseTable.commits.poke();
  }

  started(ref: AttemptRef, at: number): void {
    if (!this.#ended) this.registry.leaseTable.started(ref, this.holder, at);
  }

  finished(result: AttemptResult): void {
    if (this.#ended) return;
    validateResult(result);
    this.registry.leaseTable.finished(result, this.holder, (superseded) => {
      if (!this.#ended) this.sink.finishedAck(result.ref, superseded);
    });
  }

  released(refs: AttemptRef[]): void {
    if (this.#ended) return;
    for (const ref of refs) {
      const lease = this.registry.leaseTable.current(ref);
      if (lease?.holder === this.holder) this.registry.leaseTable.release(lease);
    }
  }

  closed(): void {
    if (this.#ended) return;
    this.#end();
    this.registry.log.info("worker disconnected", { worker: this.worker.stored.id });
  }

  /** Queues an assignment; `deliver` sends all of a batch at once. */
  send(assignment: Assignment): void {
    this.#outbox.push(assignment);
    this.registry.outgoing.add(this);
  }

  deliver(): void {
    const assignments = this.#outbox;
    this.#outbox = [];
    if (!this.#ended) this.sink.assign(assignments);
  }

  cancel(lease: Lease): void {
    if (this.open && lease.holder === this.holder) this.sink.cancel(lease.ref);
  }

  drain(draining: boolean): void {
    if (!this.open) return;
    this.sink.drain(draining);
    if (!draining) this.registry.leaseTable.commits.poke();
  }

  hold(holdMs: number): void {
    if (this.open) this.sink.hold(holdMs);
  }

  /** Ends the session from this side. */
  finish(error: TaskError): void {
    if (this.#ended) return;
    this.#end();
    this.sink.end(error);
  }

  #end(): void {
    this.#ended = true;
    this.open = false;
    this.credits = 0;
    if (this.worker.session === this) this.worker.session = undefined;
  }
}
