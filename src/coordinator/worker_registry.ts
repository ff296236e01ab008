import { formatDuration } from "../base/durations.ts";
import type { Log } from "../base/log.ts";
import { checkHello } from "../tasks/validation.ts";
import type { Lease, Ledger, Tenure } from "./lease_table.ts";
import { leaseTimes, limits } from "../tasks/limits.ts";
import { workerHealth } from "./policy.ts";
import {
  TaskError,
  type WorkerHello,
  type WorkerSession,
  type WorkerSink,
} from "../tasks/service.ts";
import { Session } from "./worker_session.ts";
import type { Recovered, StoredTenure, StoredWorker } from "./store.ts";
import type { AttemptRef, Labels, WorkerInfo } from "../tasks/task.ts";

/** A worker as the coordinator knows it, connected or not. */
export interface Worker {
  stored: StoredWorker;
  session: Session | undefined;
  /** Usually one: former processes of the worker keep theirs until their leases run out. */
  tenures: Set<Tenure>;
  lastHeartbeatAt: number | undefined;
}

/** The workers, their sessions and whether they are still heard from. */
export class Fleet {
  readonly #workers = new Map<string, Worker>();
  #nextTenure: number;
  #stopping = false;
  readonly stats = { leaseExpiries: 0, sessions: 0 };
  /** Sessions with assignments that are on disk and not yet sent. */
  readonly outgoing = new Set<Session>();

  constructor(readonly ledger: Ledger, readonly log: Log, recovered: Recovered) {
    const now = ledger.clock.monotonic();
    for (const stored of recovered.workers) {
      const tenures = new Set<Tenure>();
      this.#workers.set(stored.id, {
        stored,
        session: undefined,
        tenures,
        lastHeartbeatAt: undefined,
      });
    }
    const byId = new Map<number, Tenure>();
    for (const stored of recovered.tenures) {
      // No clock tells how long the coordinator was away: leases run their whole length from here.
      const leaseUntil = now + Math.max(leaseTimes.leaseMs, stored.holdMs);
      const tenure: Tenure = { stored, leases: new Map(), leaseUntil };
      byId.set(stored.id, tenure);
      this.#workers.get(stored.workerId)!.tenures.add(tenure);
    }
    for (const { tenure, ...lease } of recovered.running) {
      const logged = { stdout: 0, stderr: 0 };
      ledger.hold({ ...lease, tenure: byId.get(tenure)!, logged, live: true });
    }
    this.#nextTenure = Math.max(0, ...byId.keys()) + 1;
  }

  /** Those who may be given work. */
  *assignees(): Iterable<Session> {
    // Who is told to hold on is written down first: nobody may get work after that.
    if (this.#stopping) return;
    const now = this.ledger.clock.monotonic();
    for (const { session, stored } of this.#workers.values()) {
      if (session?.open && !stored.draining && !session.late(now)) yield session;
    }
  }

  connect(hello: WorkerHello, sink: WorkerSink): WorkerSession {
    checkHello(hello);
    if (this.#stopping) throw new TaskError("unavailable", "The coordinator stops");
    const { clock, journal } = this.ledger;
    const now = clock.monotonic();
    let worker = this.#workers.get(hello.workerId);
    if (worker === undefined && this.#workers.size >= limits.maxWorkers) this.#forgetOne();
    const former = worker?.session;
    if (former !== undefined) {
      if (former.tenure.stored.instance !== hello.instance && !former.late(now)) {
        throw new TaskError(
          "wrong_state",
          `The worker id "${hello.workerId}" is in use by the worker at ${former.address}; ` +
            "give each worker an id of its own with --worker.id, and name each coordinator once",
        );
      }
      former.finish(
        new TaskError("wrong_state", `Replaced by a newer session from ${hello.address}`),
      );
    }
    const { labels, slots, version, address, identity, warnings } = hello;
    const stored: StoredWorker = {
      id: hello.workerId,
      version,
      labels,
      slots,
      draining: worker?.stored.draining ?? false,
      connectedAt: clock.now(),
      address,
      identity,
      warnings,
    };
    if (worker === undefined) {
      const tenures = new Set<Tenure>();
      worker = { stored, session: undefined, tenures, lastHeartbeatAt: undefined };
      this.#workers.set(stored.id, worker);
    }
    worker.stored = stored;
    journal.add({ change: { kind: "worker", worker: stored }, lazy: true });
    const tenure = this.#tenure(worker, hello);
    const lost = this.#settle(worker, tenure, hello);
    const session = new Session(this, worker, tenure, hello, lost, sink);
    worker.session = session;
    this.stats.sessions++;
    this.log.info("worker connected", {
      worker: stored.id,
      address,
      identity,
      slots,
      held: tenure.leases.size,
    });
    return session;
  }

  /** Makes room for a worker: of those that are gone and hold nothing, the one that came first. */
  #forgetOne(): void {
    for (const [id, { session, tenures, stored }] of this.#workers) {
      if (session !== undefined || stored.draining) continue;
      if ([...tenures].some((tenure) => tenure.leases.size > 0)) continue;
      this.#workers.delete(id);
      this.ledger.journal.add({ change: { kind: "forget_worker", id } });
      return;
    }
    throw new TaskError("exhausted", `There are ${limits.maxWorkers} workers already`);
  }

  /** The tenure that this process goes on with. */
  #tenure(worker: Worker, hello: WorkerHello): Tenure {
    const { instance, home } = hello;
    const known = [...worker.tenures].find((tenure) => tenure.stored.instance === instance);
    const stored: StoredTenure = {
      id: known?.stored.id ?? this.#nextTenure++,
      workerId: worker.stored.id,
      instance,
      home,
      holdMs: 0,
    };
    const tenure = known ?? { stored, leases: new Map(), leaseUntil: 0 };
    const before = known?.stored;
    if (before === undefined || before.home !== home || before.holdMs !== 0) {
      tenure.stored = stored;
      this.ledger.journal.add({ change: { kind: "tenure", tenure: stored } });
    }
    worker.tenures.add(tenure);
    return tenure;
  }

  /** Compares what the worker says that it holds with what it should; the head of agent.proto tells. */
  #settle(worker: Worker, tenure: Tenure, hello: WorkerHello): AttemptRef[] {
    const { ledger } = this;
    const held = new Set<Lease>();
    const lost: AttemptRef[] = [];
    for (const ref of hello.held) {
      const lease = ledger.current(ref);
      if (lease !== undefined && worker.tenures.has(lease.tenure)) held.add(lease);
      else lost.push(ref);
    }
    for (const other of worker.tenures) {
      const same = other === tenure;
      const ended = same || hello.home !== undefined && other.stored.home === hello.home;
      for (const lease of [...other.leases.values()]) {
        if (held.has(lease)) {
          if (!same) this.#move(lease, tenure);
        } else if (same && lease.startedAt === undefined) {
          ledger.release(lease);
        } else if (ended) {
          ledger.lose(lease, `Worker "${worker.stored.id}" was restarted and had ended it`);
        }
      }
      if (!same && other.leases.size === 0) worker.tenures.delete(other);
    }
    return lost;
  }

  #move(lease: Lease, tenure: Tenure): void {
    lease.tenure.leases.delete(lease.ref.taskId);
    lease.tenure = tenure;
    tenure.leases.set(lease.ref.taskId, lease);
    const { seq, ref } = lease;
    this.ledger.journal.add({ change: { kind: "move", seq, ref, tenure: tenure.stored.id } });
  }

  /** For a time in which nobody could be heard; what workers sent meanwhile is still to be read. */
  prolong(ms: number): void {
    for (const { tenures } of this.#workers.values()) {
      for (const tenure of tenures) tenure.leaseUntil += ms;
    }
  }

  /** Gives away what is held by workers that have not been heard for the length of a lease. */
  expire(): void {
    const now = this.ledger.clock.monotonic();
    for (const worker of this.#workers.values()) {
      for (const tenure of worker.tenures) {
        const session = worker.session?.tenure === tenure ? worker.session : undefined;
        if (now < tenure.leaseUntil) continue;
        const silence = formatDuration(Math.max(leaseTimes.leaseMs, tenure.stored.holdMs));
        const reason = `Worker "${worker.stored.id}" was not heard from for ${silence}`;
        if (session !== undefined || tenure.leases.size > 0) {
          this.log.warn("lease expired", {
            worker: worker.stored.id,
            attempts: tenure.leases.size,
          });
        }
        session?.finish(new TaskError("conflict", `No heartbeat for ${silence}: leases are lost`));
        for (const lease of [...tenure.leases.values()]) {
          this.stats.leaseExpiries++;
          this.ledger.lose(lease, reason);
        }
        worker.tenures.delete(tenure);
      }
    }
  }

  /** Sends what the last batch assigned. */
  deliver(): void {
    for (const session of this.outgoing) session.deliver();
    this.outgoing.clear();
  }

  cancel(lease: Lease): void {
    this.#workers.get(lease.tenure.stored.workerId)?.session?.cancel(lease);
  }

  list(): WorkerInfo[] {
    return [...this.#workers.values()].map((worker) => this.#info(worker));
  }

  setDraining(id: string, draining: boolean): Promise<WorkerInfo> {
    const worker = this.#workers.get(id);
    if (worker === undefined) {
      throw new TaskError("not_found", `There is no worker "${id.slice(0, 100)}"`);
    }
    const before = worker.stored;
    worker.stored = { ...before, draining };
    const written = this.ledger.journal.write(
      { kind: "worker", worker: worker.stored },
      { undo: () => worker.stored = { ...worker.stored, draining: before.draining } },
    );
    return written.then(() => {
      worker.session?.drain(draining);
      return this.#info(worker);
    });
  }

  #info(worker: Worker): WorkerInfo {
    const { session, stored, lastHeartbeatAt } = worker;
    const silent = session === undefined ? 0 : session.silentMs(this.ledger.clock.monotonic());
    let running = 0;
    for (const tenure of worker.tenures) running += tenure.leases.size;
    return {
      ...stored,
      running,
      health: workerHealth(session !== undefined, silent),
      connected: session !== undefined,
      lastHeartbeatAt,
    };
  }

  /** What connected workers there are, for why a task waits. */
  *connected(): Iterable<{ labels: Labels; draining: boolean; health: WorkerInfo["health"] }> {
    const now = this.ledger.clock.monotonic();
    for (const { stored, session } of this.#workers.values()) {
      if (session === undefined) continue;
      yield { ...stored, health: workerHealth(true, session.silentMs(now)) };
    }
  }

  get sessionCount(): number {
    return [...this.#workers.values()].filter((worker) => worker.session !== undefined).length;
  }

  /** Tells the workers to keep their attempts, and for how long, and ends their sessions. */
  stop(holdMs: number): void {
    this.#stopping = true;
    const { journal } = this.ledger;
    const sessions = [...this.#workers.values()].flatMap((worker) => worker.session ?? []);
    for (const { tenure } of sessions) {
      if (tenure.leases.size === 0) continue;
      tenure.stored = { ...tenure.stored, holdMs };
      journal.add({ change: { kind: "tenure", tenure: tenure.stored } });
    }
    journal.flush();
    for (const session of sessions) {
      // A promise that is not on disk would not be kept.
      if (journal.failing === undefined) session.hold(holdMs);
      session.finish(new TaskError("unavailable", "The coordinator stops"));
    }
  }
}
