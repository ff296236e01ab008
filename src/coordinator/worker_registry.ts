import { formatDuration } from "../base/durations.ts";
import type { Log } from "../base/log.ts";
import { validateHello } from "../tasks/validation.ts";
import type { Lease, LeaseHolder, LeaseTable } from "./lease_table.ts";
import { limits } from "../tasks/limits.ts";
import { leaseLength, type Waiting, workerHealth } from "./policy.ts";
import { lostLease } from "./upload_queue.ts";
import { TaskError, type WorkerHello, type WorkerSink } from "../tasks/service.ts";
import { checkOwner, ownerOf } from "./worker_owner.ts";
import { Session, type SessionEvents } from "./worker_session.ts";
import type { Recovered, StoredHolder, StoredWorker } from "./store.ts";
import type { AttemptRef, WorkerHealth, WorkerInfo } from "../tasks/task.ts";

/** A worker as the coordinator knows it, connected or not. */
export interface KnownWorker {
  stored: StoredWorker;
  session: Session | undefined;
  /** Usually one: former processes of the worker keep theirs until their leases run out. */
  holders: Set<LeaseHolder>;
  lastHeartbeatAt: number | undefined;
}

/** The known workers, their sessions and their health. */
export class WorkerRegistry {
  readonly #workers = new Map<string, KnownWorker>();
  #nextHolder: number;
  #stopping = false;
  readonly stats = { leaseExpiries: 0, sessions: 0 };
  /** Sessions with assignments that are on disk and not yet sent. */
  readonly #outgoing = new Set<Session>();

  constructor(
    readonly leaseTable: LeaseTable,
    readonly log: Log,
    recovered: Recovered,
    readonly leaseMs: number,
    readonly inlineBytes: number,
  ) {
    const now = leaseTable.clock.monotonic();
    for (const stored of recovered.workers) {
      const holders = new Set<LeaseHolder>();
      this.#workers.set(stored.id, {
        stored,
        session: undefined,
        holders,
        lastHeartbeatAt: undefined,
      });
    }
    const byId = new Map<number, LeaseHolder>();
    for (const stored of recovered.holders) {
      // No clock tells how long the coordinator was away: leases run their whole length from here.
      const holder: LeaseHolder = { stored, leases: new Map(), heardAt: now };
      byId.set(stored.id, holder);
      this.#workers.get(stored.workerId)!.holders.add(holder);
    }
    for (const { holder, ...lease } of recovered.running) {
      const logged = { stdout: 0, stderr: 0 };
      leaseTable.hold({ ...lease, holder: byId.get(holder)!, logged, live: true });
    }
    this.#nextHolder = Math.max(0, ...byId.keys()) + 1;
  }

  /** Sessions that may be given work, as far as they have credits. */
  *assignees(): Iterable<Session> {
    // A stop first stores the promise to hold the leases: nothing may be assigned after that.
    if (this.#stopping) return;
    const now = this.leaseTable.clock.monotonic();
    for (const { session, stored } of this.#workers.values()) {
      if (session?.isReady(now) && !stored.draining) yield session;
    }
  }

  connect(hello: WorkerHello, sink: WorkerSink): Session {
    validateHello(hello);
    if (this.#stopping) throw new TaskError("unavailable", "The coordinator is stopping");
    const { clock, commits } = this.leaseTable;
    const now = clock.monotonic();
    let worker = this.#workers.get(hello.workerId);
    checkOwner(hello, worker?.stored);
    if (worker === undefined && this.#workers.size >= limits.maxWorkers) this.#forgetOne();
    const former = worker?.session;
    if (former !== undefined) {
      if (former.holder.stored.instance !== hello.instance && !former.late(now)) {
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
    const { labels, slots, resources, version, address, identity, fingerprint, warnings } = hello;
    const stored: StoredWorker = {
      id: hello.workerId,
      version,
      labels,
      slots,
      resources,
      draining: worker?.stored.draining ?? false,
      connectedAt: clock.now(),
      address,
      identity,
      fingerprint,
      warnings,
      owner: ownerOf(hello, worker?.stored),
    };
    if (worker === undefined) {
      const holders = new Set<LeaseHolder>();
      worker = { stored, session: undefined, holders, lastHeartbeatAt: undefined };
      this.#workers.set(stored.id, worker);
    }
    worker.stored = stored;
    commits.add({ change: { kind: "worker", worker: stored }, lazy: true });
    const holder = this.#holder(worker, hello);
    const lost = this.#settle(worker, holder, hello);
    const session = this.#session(worker, holder, hello, lost, sink);
    worker.session = session;
    this.stats.sessions++;
    this.log.info("worker connected", {
      worker: stored.id,
      address,
      identity,
      fingerprint,
      slots,
      held: holder.leases.size,
    });
    return session;
  }

  #session(
    worker: KnownWorker,
    holder: LeaseHolder,
    hello: WorkerHello,
    lost: AttemptRef[],
    sink: WorkerSink,
  ): Session {
    const { leaseTable } = this;
    const { clock } = leaseTable;
    const events: SessionEvents = {
      heard: () => worker.lastHeartbeatAt = clock.now(),
      outgoing: (session) => this.#outgoing.add(session),
      ended: (session, byWorker) => {
        if (worker.session === session) worker.session = undefined;
        if (byWorker) this.log.info("worker disconnected", { worker: worker.stored.id });
      },
    };
    const isDraining = () => worker.stored.draining;
    const { leaseMs, inlineBytes } = this;
    return new Session({
      ...{ hello, holder, leaseMs, inlineBytes, leaseTable, clock },
      ...{ lost, sink, isDraining, events },
    });
  }

  /** Makes room for a worker: forgets the oldest that is not connected and holds nothing. */
  #forgetOne(): void {
    for (const [id, { session, holders, stored }] of this.#workers) {
      if (session !== undefined || stored.draining) continue;
      if ([...holders].some((holder) => holder.leases.size > 0)) continue;
      this.#workers.delete(id);
      this.leaseTable.commits.add({ change: { kind: "forget_worker", id } });
      return;
    }
    throw new TaskError("exhausted", `There are ${limits.maxWorkers} workers already`);
  }

  /** The holder of this process's leases: the one that it had before, or a new one. */
  #holder(worker: KnownWorker, hello: WorkerHello): LeaseHolder {
    const { instance, home, keepsTaskLeases = false } = hello;
    const { leaseMs } = this;
    const known = [...worker.holders].find((holder) => holder.stored.instance === instance);
    const stored: StoredHolder = {
      id: known?.stored.id ?? this.#nextHolder++,
      workerId: worker.stored.id,
      ...{ instance, home, holdMs: 0, leaseMs, keepsTaskLeases },
    };
    const holder = known ?? { stored, leases: new Map(), heardAt: -Infinity };
    const before = known?.stored;
    if (
      before === undefined || before.home !== home || before.holdMs !== 0 ||
      before.leaseMs !== leaseMs || before.keepsTaskLeases !== keepsTaskLeases
    ) {
      holder.stored = stored;
      this.leaseTable.commits.add({ change: { kind: "holder", holder: stored } });
    }
    worker.holders.add(holder);
    return holder;
  }

  /** Compares what the worker says it holds with what it should hold; see the head of agent.proto. */
  #settle(worker: KnownWorker, holder: LeaseHolder, hello: WorkerHello): AttemptRef[] {
    const { leaseTable } = this;
    const held = new Set<Lease>();
    const lost: AttemptRef[] = [];
    for (const ref of hello.held) {
      const lease = leaseTable.current(ref);
      if (lease !== undefined && worker.holders.has(lease.holder)) held.add(lease);
      else lost.push(ref);
    }
    for (const other of worker.holders) {
      const same = other === holder;
      const ended = same || hello.home !== undefined && other.stored.home === hello.home;
      for (const lease of [...other.leases.values()]) {
        if (held.has(lease)) {
          if (!same) this.#move(lease, holder);
        } else if (same && lease.startedAt === undefined) {
          leaseTable.release(lease);
        } else if (ended) {
          leaseTable.lose(
            lease,
            `Worker "${worker.stored.id}" was restarted and had ended it`,
          );
        }
      }
      if (!same && other.leases.size === 0) worker.holders.delete(other);
    }
    return lost;
  }

  #move(lease: Lease, holder: LeaseHolder): void {
    lease.holder.leases.delete(lease.ref.taskId);
    lease.holder = holder;
    holder.leases.set(lease.ref.taskId, lease);
    const { seq, ref } = lease;
    this.leaseTable.commits.add({ change: { kind: "move", seq, ref, holder: holder.stored.id } });
  }

  /**
   * Adds the time in which this process could not read: heartbeats that came in meanwhile are still
   * unread.
   */
  prolong(ms: number): void {
    for (const { holders } of this.#workers.values()) {
      for (const holder of holders) holder.heardAt += ms;
    }
  }

  /** Ends the leases of workers that were silent for the length of a lease. */
  expire(): void {
    const now = this.leaseTable.clock.monotonic();
    for (const worker of this.#workers.values()) {
      for (const holder of worker.holders) {
        const silentMs = now - holder.heardAt;
        if (silentMs >= limits.minLostAfterMs) this.#expire(worker, holder, silentMs);
      }
    }
  }

  #expire(worker: KnownWorker, holder: LeaseHolder, silentMs: number): void {
    const lengthOf = (lease?: Lease) => leaseLength(holder.stored, this.leaseMs, lease);
    const isOver = silentMs >= lengthOf();
    const lost = [...holder.leases.values()].filter((lease) => silentMs >= lengthOf(lease));
    if (!isOver && lost.length === 0) return;
    const { id } = worker.stored;
    const session = worker.session?.holder === holder ? worker.session : undefined;
    if (session !== undefined || lost.length > 0) {
      this.log.warn("lease expired", { worker: id, attempts: lost.length });
    }
    const silence = formatDuration(silentMs);
    session?.finish(new TaskError("conflict", `No heartbeat for ${silence}: leases are lost`));
    for (const lease of lost) {
      this.stats.leaseExpiries++;
      const length = formatDuration(lengthOf(lease));
      this.leaseTable.lose(lease, `Worker "${id}" was not heard from for ${length}`);
    }
    if (holder.leases.size === 0) worker.holders.delete(holder);
  }

  /** Sends what the last batch assigned. */
  deliver(): void {
    for (const session of this.#outgoing) session.deliver();
    this.#outgoing.clear();
  }

  cancel(lease: Lease): void {
    this.#workers.get(lease.holder.stored.workerId)?.session?.cancel(lease);
  }

  ids(): string[] {
    return [...this.#workers.keys()];
  }

  info(id: string): WorkerInfo | undefined {
    const worker = this.#workers.get(id);
    return worker && this.#info(worker);
  }

  /** Known workers by health. */
  healthCounts(): Record<WorkerHealth, number> {
    const counts = { healthy: 0, late: 0, lost: 0 };
    const now = this.leaseTable.clock.monotonic();
    for (const { session } of this.#workers.values()) {
      counts[workerHealth(session !== undefined, session?.silentMs(now) ?? 0)]++;
    }
    return counts;
  }

  /**
   * The lease of an attempt, for an upload that comes from `from`, the address of its caller.
   *
   * @throws {TaskError} `conflict` where the lease is lost, `forbidden` where another session holds it.
   */
  leaseFor(ref: AttemptRef, from: string): Lease {
    const lease = this.leaseTable.current(ref);
    if (lease === undefined) throw lostLease(ref);
    const session = this.#workers.get(lease.holder.stored.workerId)?.session;
    if (session?.holder === lease.holder && session.address === from) return lease;
    throw new TaskError(
      "forbidden",
      `Attempt ${ref.attempt} of task ${ref.taskId} is held by another session than this caller's`,
    );
  }

  #known(id: string): KnownWorker {
    const worker = this.#workers.get(id);
    if (worker !== undefined) return worker;
    throw new TaskError("not_found", `There is no worker "${id.slice(0, 100)}"`);
  }

  /** Ends the leases of a worker whose host is gone, as a person says, and removes it. */
  async forget(id: string): Promise<WorkerInfo> {
    const worker = this.#known(id);
    const { clock, commits } = this.leaseTable;
    const { session } = worker;
    const now = clock.monotonic();
    const isHere = session !== undefined && !session.late(now);
    // Where its host was set up anew, a former process may hold what it cannot report any more.
    const gone = [...worker.holders].filter((holder) =>
      !isHere || holder !== session.holder && holder.leases.size > 0 &&
        now - holder.heardAt >= leaseLength(holder.stored, this.leaseMs)
    );
    if (isHere && gone.length === 0) {
      throw new TaskError("wrong_state", `The worker "${id}" is connected; only a lost one can go`);
    }
    const info = this.#info(worker);
    for (const holder of gone) {
      for (const lease of [...holder.leases.values()]) {
        this.leaseTable.lose(lease, `Worker "${id}" was declared gone (agent workers forget)`);
      }
      worker.holders.delete(holder);
    }
    if (isHere) {
      this.log.warn("former processes of a worker forgotten", { worker: id, count: gone.length });
      await commits.write({ kind: "worker", worker: worker.stored });
      return info;
    }
    session?.finish(new TaskError("conflict", "The worker was declared gone: leases are lost"));
    this.#workers.delete(id);
    this.log.warn("worker forgotten", { worker: id, attempts: info.running + info.assigned });
    await commits.write({ kind: "forget_worker", id });
    return info;
  }

  setDraining(id: string, draining: boolean): Promise<WorkerInfo> {
    const worker = this.#known(id);
    const before = worker.stored;
    worker.stored = { ...before, draining };
    const written = this.leaseTable.commits.write(
      { kind: "worker", worker: worker.stored },
      { undo: () => worker.stored = { ...worker.stored, draining: before.draining } },
    );
    return written.then(() => {
      worker.session?.drain(draining);
      return this.#info(worker);
    });
  }

  #info(worker: KnownWorker): WorkerInfo {
    const { session, stored, lastHeartbeatAt } = worker;
    const silent = session === undefined ? 0 : session.silentMs(this.leaseTable.clock.monotonic());
    let [running, assigned] = [0, 0];
    for (const { leases } of worker.holders) {
      for (const { startedAt } of leases.values()) startedAt === undefined ? assigned++ : running++;
    }
    return {
      ...stored,
      resourcesUsed: stored.resources && this.leaseTable.grants.used(stored.id),
      running,
      assigned,
      health: workerHealth(session !== undefined, silent),
      connected: session !== undefined,
      lastHeartbeatAt,
      trouble: session?.trouble,
    };
  }

  /** The connected workers, for why a task waits. */
  *connected(): Iterable<Waiting["workers"][number]> {
    const now = this.leaseTable.clock.monotonic();
    for (const { stored, session } of this.#workers.values()) {
      if (session === undefined) continue;
      const health = workerHealth(true, session.silentMs(now));
      yield { ...stored, labels: session.labels, health, trouble: session.trouble };
    }
  }

  get sessionCount(): number {
    return [...this.#workers.values()].filter((worker) => worker.session !== undefined).length;
  }

  /** Ends all sessions, and promises the workers to keep their leases for `holdMs`. */
  stop(holdMs: number): void {
    this.#stopping = true;
    const { commits } = this.leaseTable;
    const sessions = [...this.#workers.values()].flatMap((worker) => worker.session ?? []);
    for (const { holder } of sessions) {
      if (holder.leases.size === 0) continue;
      holder.stored = { ...holder.stored, holdMs };
      commits.add({ change: { kind: "holder", holder: holder.stored } });
    }
    commits.flush();
    for (const session of sessions) {
      // Only a promise that is on disk outlives this process.
      if (commits.failing === undefined) session.hold(holdMs);
      session.finish(new TaskError("unavailable", "The coordinator is stopping"));
    }
  }
}
