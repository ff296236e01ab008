import { aborted } from "../base/lifetimes.ts";
import type { AttemptReport, Order, OutputStream, Report } from "../tasks/orders.ts";
import type { Assignment } from "../tasks/task.ts";
import { newCredits, nextMeanMs, nextSession, releaseAfterMs, tasksAhead } from "./flow_control.ts";
import { RunningAttempt, streams } from "./running_attempt.ts";
import { CoordinatorSession, type SessionEvents } from "./coordinator_session.ts";
import { type Exited, reasonLine } from "./attempt_result.ts";
import { DiskSpill } from "./spill.ts";
import { helloTo } from "./hello.ts";
import { FirstOutput } from "./first_output.ts";
import { HostHealth } from "./host_health.ts";
import type { WorkerOptions } from "./worker_options.ts";
import type { WorkerStats } from "./worker_stats.ts";

/**
 * Memory for undelivered output, shared by the slots, so that the worker stays below 200 MiB. One stream
 * cannot use more than the window of an upload.
 */
const outputMemory = {
  totalBytes: 32 * 1024 * 1024,
  mostBytes: 2 * 1024 * 1024,
  leastBytes: 256 * 1024,
};

/** With more unacknowledged results than this, the worker asks for no work. */
const maxUndelivered = 1_000;

/** Minimum of the assumed duration of tasks after waiting ones had to be handed back. */
const longMs = 1_000;

/** Between SIGTERM and SIGKILL for a task that is cancelled. */
const graceMs = 5_000;

/**
 * When the worker stops: how long running tasks may continue, how long they get to end, and how long
 * the last results may take. Together well below the 30 s that container runtimes wait.
 */
const stop = { runMs: 5_000, graceMs: 5_000, deliverMs: 3_000 };

/** Gives the worker's slots to the attempts of all coordinators. */
export class SlotScheduler implements SessionEvents {
  readonly sessions: CoordinatorSession[];
  /** Attempts that the runner knows. */
  readonly #started = new Map<string, { attempt: RunningAttempt; session: CoordinatorSession }>();
  readonly #firstOutput = new FirstOutput((key) => this.#started.get(key));
  readonly #memoryBytes: number;
  #running = 0;
  #meanMs: number | undefined;
  #served = 0;
  #stopping = false;
  #retiring = false;
  readonly #retired = Promise.withResolvers<void>();
  readonly #spill: DiskSpill;
  readonly #health: HostHealth;
  #settledSome = () => {};
  #outputBytes = 0;
  readonly #finished: Record<string, number> = {};

  constructor(private readonly options: WorkerOptions) {
    const { coordinators, clock, log, hello, spool, readFile, random = Math.random } = options;
    const perStream = outputMemory.totalBytes / (2 * hello.slots);
    const { mostBytes, leastBytes } = outputMemory;
    this.#memoryBytes = Math.min(mostBytes, Math.max(leastBytes, perStream));
    const taken = (attempt: RunningAttempt, stream: OutputStream, bytes: number) =>
      options.order([{ kind: "taken", key: attempt.key, stream, bytes }]);
    this.#spill = new DiskSpill(spool, log, taken);
    const delivery = { clock, taken, readFile };
    this.#health = new HostHealth({
      test: () => options.order([{ kind: "test" }]),
      changed: () => this.#healthChanged(),
      ...{ clock, log, random },
    });
    this.sessions = coordinators.map(({ address, service }, at) => {
      const parts = { address, service, delivery, clock, log, random };
      return new CoordinatorSession({
        ...parts,
        hello: helloTo(address, hello, at === 0),
        events: this,
      });
    });
    for (const record of spool.load()) {
      const session = this.sessions.find(({ address }) => address === record.lease);
      if (session !== undefined) {
        const attempt = RunningAttempt.restored(record, spool);
        session.attempts.set(attempt.key, attempt);
        continue;
      }
      const { key, lease: coordinator } = record;
      log.warn("dropping a result for a coordinator that is not configured", { key, coordinator });
      spool.remove(key);
      if (record.files.length > 0) options.order([{ kind: "forget", key }]);
    }
  }

  stats(): WorkerStats {
    const sum = (count: (session: CoordinatorSession) => number) =>
      this.sessions.reduce((all, session) => all + count(session), 0);
    const waiting = sum(({ queued }) => queued);
    return {
      slots: this.options.hello.slots,
      running: this.#running,
      waiting,
      undelivered: Math.max(0, sum(({ attempts }) => attempts.size) - waiting - this.#running),
      sessions: sum(({ connection }) => connection === undefined ? 0 : 1),
      coordinators: this.sessions.length,
      finished: this.#finished,
      outputBytes: this.#outputBytes,
      trouble: this.#health.trouble,
    };
  }

  get trouble(): string | undefined {
    return this.#health.trouble;
  }

  get runnerAnswers(): boolean {
    return this.#health.answers;
  }

  // Calls from sessions.

  assigned(session: CoordinatorSession, assignments: Assignment[]): void {
    const { clock, spool } = this.options;
    const now = clock.monotonic();
    for (const assignment of assignments) {
      const attempt = new RunningAttempt(assignment.ref, assignment, now, spool, this.#memoryBytes);
      if (session.attempts.has(attempt.key)) continue;
      session.attempts.set(attempt.key, attempt);
      session.queue.push(attempt);
    }
    const { trouble } = this;
    if (this.#stopping || session.draining) session.release(() => true);
    else if (trouble !== undefined) session.release(() => true, trouble);
    this.#startWaiting();
    this.#credit();
  }

  cancel(session: CoordinatorSession, attempt: RunningAttempt): void {
    const { clock, order } = this.options;
    // Its processes, or the collecting of what they left.
    if (attempt.phase === "running" || attempt.phase === "exited") {
      return order([{ kind: "end", key: attempt.key, cause: "cancelled", graceMs }]);
    }
    if (attempt.phase !== "queued") return;
    session.queue.splice(session.queue.indexOf(attempt), 1);
    attempt.neverRan("cancelled", clock.now(), clock.monotonic());
    session.deliver(attempt);
  }

  settled(
    session: CoordinatorSession,
    attempt: RunningAttempt,
    how: "delivered" | "superseded" | "lost",
  ): void {
    const { spool, order, log } = this.options;
    const { key } = attempt;
    if (how === "superseded") log.warn("a result came too late", { attempt: key });
    session.attempts.delete(key);
    // Its slot becomes free when the runner reports the end.
    if (attempt.phase === "running") order([{ kind: "end", key, cause: "lost", graceMs: 0 }]);
    if (attempt.phase === "finished" && attempt.collects) order([{ kind: "forget", key }]);
    const usesDisk = attempt.spooled || streams.some((stream) => attempt.outputs[stream].usesFile);
    attempt.forget();
    if (usesDisk) spool.remove(key);
    this.#settledSome();
  }

  renewed(session: CoordinatorSession): void {
    // Without any attempt it need not wake the runner: the next start renews first.
    if (session.attempts.size > 0) this.options.order(session.renewals());
    else session.isRenewed = false;
  }

  changed(session: CoordinatorSession): void {
    if (session.draining) session.release(() => true);
    this.#credit();
    this.#tellConnected();
  }

  cut(): void {
    this.#tellConnected();
  }

  // Calls from the runner.

  heard(reports: Report[]): void {
    const begun: [RunningAttempt, CoordinatorSession, number][] = [];
    const room: Order[] = [];
    for (const report of reports) {
      if (report.kind === "alive") this.#health.alive();
      else if (report.kind === "tested") this.#health.tested(report.problem);
      else if (report.kind === "retire") this.#retire();
      else this.#heardOf(report, begun, room);
    }
    if (room.length > 0) this.options.order(room);
    for (const [attempt, session, at] of begun) {
      // If it has already ended, its result contains the start.
      if (attempt.phase === "running") session.connection?.started(attempt.ref, at);
    }
    this.#startWaiting();
    this.#credit();
  }

  #heardOf(
    report: AttemptReport,
    begun: [RunningAttempt, CoordinatorSession, number][],
    room: Order[],
  ): void {
    const entry = this.#started.get(report.key);
    if (entry === undefined) return;
    const { attempt, session } = entry;
    switch (report.kind) {
      case "started":
        begun.push([attempt, session, report.at]);
        break;
      case "output": {
        if (attempt.phase === "gone") break;
        this.#outputBytes += report.data.length;
        const bytes = attempt.outputs[report.stream].append(report.data);
        if (bytes > 0) room.push({ kind: "taken", key: attempt.key, stream: report.stream, bytes });
        attempt.changed();
        this.#firstOutput.add(attempt);
        break;
      }
      case "exited":
        this.#exited(attempt, session, report);
        break;
      case "collected":
        this.#started.delete(attempt.key);
        if (attempt.phase === "gone") this.options.order([{ kind: "forget", key: attempt.key }]);
        else this.#finish(attempt, session, report.files, report.notes);
    }
  }

  #exited(attempt: RunningAttempt, session: CoordinatorSession, exited: Exited): void {
    const now = this.options.clock.monotonic();
    this.#running--;
    session.running--;
    if (this.#retiring && this.#running === 0) this.#retired.resolve();
    if (exited.cause === "exit") this.#meanMs = nextMeanMs(this.#meanMs, now - attempt.startedAt);
    if (!exited.collects) this.#started.delete(attempt.key);
    if (attempt.phase === "gone") return;
    if (exited.cause === "host_failed") return this.#handBack(attempt, session, exited);
    attempt.exited(exited);
    attempt.collects = exited.collects;
    if (!exited.collects) this.#finish(attempt, session, [], []);
  }

  /** Gives back an attempt that never ran: another worker may be able to start it. */
  #handBack(attempt: RunningAttempt, session: CoordinatorSession, { reason }: Exited): void {
    const why = reasonLine(reason ?? "The host failed");
    // Before the hand-back, so that the coordinator does not assign it here again.
    this.#health.failed(why);
    session.handBack(attempt, why);
    this.#settledSome();
  }

  /** Tells the coordinators first, then hands back the waiting attempts. */
  #healthChanged(): void {
    const { trouble } = this;
    for (const session of this.sessions) {
      session.tellTrouble();
      if (trouble !== undefined) session.release(() => true, trouble);
    }
    this.#credit();
  }

  #finish(
    attempt: RunningAttempt,
    session: CoordinatorSession,
    files: RunningAttempt["files"],
    notes: string[],
  ): void {
    attempt.finish(files, notes, this.options.clock.monotonic());
    const state = attempt.result!.state;
    this.#finished[state] = (this.#finished[state] ?? 0) + 1;
    if (state === "lost" && session.connection === undefined) {
      return this.settled(session, attempt, "lost");
    }
    session.deliver(attempt);
  }

  /** Nothing depends on the time now. */
  get isIdle(): boolean {
    return this.trouble === undefined && this.sessions.every(({ attempts }) => attempts.size === 0);
  }

  /** Called regularly. */
  tick(): void {
    const now = this.options.clock.monotonic();
    this.#health.tick();
    for (const session of this.sessions) {
      const isFull = this.#running >= this.options.hello.slots;
      if (isFull && session.release(({ queuedAt }) => now - queuedAt > releaseAfterMs) > 0) {
        this.#meanMs = Math.max(this.#meanMs ?? 0, longMs);
      }
      for (const attempt of session.attempts.values()) {
        this.#spill.tick(attempt, session.address, now);
      }
    }
    this.#credit();
  }

  #startWaiting(): void {
    const { clock, hello, order } = this.options;
    const orders: Order[] = [];
    while (this.#running < hello.slots) {
      const session = nextSession(this.sessions);
      if (session === undefined) break;
      const attempt = session.queue.shift()!;
      attempt.phase = "running";
      attempt.startedAt = clock.monotonic();
      this.#running++;
      session.running++;
      session.servedAt = ++this.#served;
      this.#started.set(attempt.key, { attempt, session });
      orders.push(...session.startOrders(attempt));
    }
    if (orders.length > 0) order(orders);
  }

  #credit(): void {
    if (this.#stopping || this.trouble !== undefined) return;
    const { slots } = this.options.hello;
    const undelivered = this.sessions.reduce((sum, { attempts }) => sum + attempts.size, 0) -
      this.#running;
    if (undelivered > maxUndelivered) return;
    const ahead = this.#meanMs === undefined ? 0 : tasksAhead(slots, this.#meanMs);
    newCredits({ slots, ahead, sessions: this.sessions }).forEach((count, at) => {
      if (count > 0) this.sessions[at]!.grant(count);
    });
  }

  #tellConnected(): void {
    this.options.connected?.(
      this.sessions.filter(({ connection }) => connection !== undefined).length,
    );
  }

  /** Resolves when it was told to retire and no task runs. */
  get retired(): Promise<void> {
    return this.#retired.promise;
  }

  /** Tasks may take days: they get all the time that they need. */
  #retire(): void {
    if (this.#stopping) return;
    this.options.log.info("taking no more tasks; ends when the running ones have ended", {
      running: this.#running,
    });
    this.#takeNoMore();
    this.#retiring = true;
    if (this.#running === 0) this.#retired.resolve();
  }

  #takeNoMore(): void {
    this.#stopping = true;
    for (const session of this.sessions) {
      session.release(() => true);
      session.revokeCredits();
    }
  }

  /** Takes no more work; resolves when every attempt has finished, was ended or handed back. */
  async drain(): Promise<void> {
    const { log, order } = this.options;
    this.#takeNoMore();
    if (this.#running > 0) log.info("waiting for running tasks", { running: this.#running });
    await this.#until(() => this.#running === 0, stop.runMs);
    if (this.#running > 0) {
      log.warn("ending tasks that are still running", { running: this.#running });
      const left = [...this.#started.values()].filter(({ attempt }) => attempt.phase === "running");
      order(left.map(({ attempt }) => {
        const { key } = attempt;
        attempt.why = "Its worker was told to stop";
        return { kind: "end", key, cause: "lost", graceMs: stop.graceMs } as const;
      }));
      await this.#until(() => this.#running === 0, stop.graceMs + 2_000);
    }
    const isDelivered = () =>
      this.sessions.every(({ connection, attempts }) =>
        connection === undefined || attempts.size === 0
      );
    const isQuiet = () => this.sessions.every(({ credit }) => credit === 0);
    await this.#until(() => isDelivered() && isQuiet(), stop.deliverMs);
  }

  /** Saves results that no coordinator has acknowledged, for the next start. */
  close(): void {
    this.#firstOutput[Symbol.dispose]();
    for (const session of this.sessions) {
      for (const attempt of session.attempts.values()) this.#spill.save(attempt, session.address);
    }
  }

  async #until(isSo: () => boolean, withinMs: number): Promise<void> {
    const late = AbortSignal.timeout(withinMs);
    while (!isSo() && !late.aborted) {
      const turn = Promise.withResolvers<void>();
      this.#settledSome = turn.resolve;
      const timer = setTimeout(turn.resolve, 50);
      await Promise.race([turn.promise, aborted(late)]);
      clearTimeout(timer);
    }
  }
}
