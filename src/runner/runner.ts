import { join } from "node:path";
import { messageOf, UserError } from "../base/errors.ts";
import { aborted, every } from "../base/lifetimes.ts";
import type { Order, StartOrder } from "../tasks/orders.ts";
import { Attempt } from "./attempt.ts";
import type { Cgroup } from "./cgroups.ts";
import { validateOrder } from "./access_check.ts";
import { leftoverFolders, randomHex, removeFolder } from "./folders.ts";
import { Guardian } from "./guardian.ts";
import { guardianCommands } from "./guardian_protocol.ts";
import { findLauncher } from "./launch.ts";
import { bootMs, type Instants, Leases } from "./leases.ts";
import {
  AttemptProcesses,
  findLeftoverProcesses,
  killLeftoverProcesses,
  ProcessSweeper,
  signal,
} from "./leftover_processes.ts";
import { Orphans } from "./orphans.ts";
import { Reports } from "./reports.ts";
import { TaskFiles } from "./task_files.ts";
import type { RunnerOptions } from "./runner_options.ts";
import { startProblem } from "./start_problem.ts";
import { CannotStart, notStarted, type StartRules, startTask } from "./task_start.ts";
import type { TaskProcess } from "./task_process.ts";
import { checkReach } from "./user.ts";
import { WorkFolders } from "./work_folders.ts";

/** How often deadlines are checked while there are any; else a round is for the heartbeat. */
const tickMs = 100;

/** Between heartbeats to the guardian and the role, and between searches for leftover processes. */
const beatMs = 1_000;

/** For trying all ways to start a guardian, one after the other; each takes under half a second. */
const guardianStartMs = 15_000;

/**
 * Starts, signals and ends the processes of tasks, on orders that it validates. Disposing of it ends
 * all of them.
 */
export class Runner {
  readonly instance = randomHex(4);
  readonly #attempts = new Map<string, RunningAttempt>();
  /** By attempt: stops the copying of its artifacts. */
  readonly #collecting = new Map<string, AbortController>();
  readonly #running = new Set<Promise<void>>();
  readonly #leases = new Leases();
  readonly #mark: string;
  readonly #sweeper: ProcessSweeper;
  readonly #folders: WorkFolders;
  readonly #files: TaskFiles;
  readonly #rules: StartRules;
  readonly #orphans: Orphans;
  /** Children that belong to no attempt. */
  readonly #ownChildren = new Set<number>();
  readonly #stop = new AbortController();
  readonly #guardian: Guardian;
  readonly #rounds: Promise<void>;
  #lastTick: number;
  #ticked: Instants;
  #lastBeat = -Infinity;
  /** An attempt has ended since the last search for processes that it left behind. */
  #unswept = false;
  readonly #reports: Reports;
  #look: Promise<void> | undefined;

  private constructor(private readonly options: RunnerOptions) {
    const { folder, user, cgroups, clock, log, allowed, allowedVariables, variable } = options;
    this.#mark = `${folder.mark}.${this.instance}.`;
    this.#sweeper = new ProcessSweeper(this.#mark);
    this.#reports = new Reports(options.report);
    this.#rules = { user, allowed, allowedVariables, variable, launcher: findLauncher() };
    this.#lastTick = clock.monotonic();
    this.#ticked = this.#now();
    const apart = (start: () => Deno.ChildProcess) => {
      const child = cgroups === undefined ? start() : cgroups.outside(start);
      this.#ownChildren.add(child.pid);
      void child.status.finally(() => this.#ownChildren.delete(child.pid));
      return child;
    };
    this.#guardian = new Guardian({
      commands: guardianCommands({
        mark: this.#mark,
        silenceMs: options.bounds.guardianMs,
        self: options.guardian,
        cgroups: cgroups?.path,
      }),
      apart,
      // Two and a half heartbeats.
      echoMs: beatMs * 2.5,
      clock,
      log,
      acted: () =>
        this.#loseAll("the guardian ended its processes because the worker sent no heartbeats"),
    });
    const watching = {
      watch: (group: number) => this.#guardian.add(group),
      unwatch: (group: number) => this.#guardian.remove(group),
    };
    this.#files = new TaskFiles({ command: options.taskFiles, user, apart, log, ...watching });
    this.#folders = new WorkFolders(folder.work, user, (path) => this.#remove(path));
    this.#orphans = new Orphans({
      ...watching,
      isKnown: (pid) => this.#ownChildren.has(pid),
      running: () => [...this.#attempts.values()].map(({ startedAt }) => startedAt),
      killed: (pid) => log.info("ended a process that outlived its task", { pid }),
    }, options.endsOrphans);
    this.#rounds = every({
      periodMs: () => this.#attempts.size > 0 ? tickMs : beatMs,
      coarse: true,
      clock,
      signal: this.#stop.signal,
      failed: (error) => log.error("runner round failed", { error: messageOf(error) }),
    }, () => this.#tick());
  }

  /** Ends processes that earlier starts of this worker left, and resolves when it takes orders. */
  static async start(options: RunnerOptions): Promise<Runner> {
    const { folder, log } = options;
    await checkReach(folder.work, options.user);
    const killed = await killLeftoverProcesses(`${folder.mark}.`);
    if (killed > 0) log.warn("ended processes that an earlier start left behind", { killed });
    const { work, copies } = leftoverFolders(folder);
    for (const path of copies) await removeFolder(path);
    const runner = new Runner(options);
    // The worker does not wait for it: a task may have left many files.
    for (const path of work) runner.#track(runner.#remove(path));
    const late = AbortSignal.timeout(guardianStartMs);
    await Promise.race([runner.#guardian.ready(), aborted(late)]);
    if (runner.#guardian.isReady) return runner;
    await runner[Symbol.asyncDispose]();
    throw new UserError("Cannot start the guardian, and without it the worker starts no task", {
      next: "See the log lines above; the guardian needs bash, or busybox, and grep",
    });
  }

  /** The process id of the guardian; undefined if it does not run. */
  get guardianPid(): number | undefined {
    return this.#guardian.pid;
  }

  /** Carries out orders. One that `validateOrder` refuses is logged and has no effect. */
  obey(orders: unknown): void {
    for (const order of Array.isArray(orders) ? orders : [orders]) {
      try {
        this.#obey(validateOrder(order));
      } catch (error) {
        this.options.log.error("refused an order", { error: messageOf(error) });
        if (order?.kind === "start") {
          this.#refuse(order.key, notStarted(`The runner refused: ${messageOf(error)}`));
        }
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { attempt } of this.#attempts.values()) attempt.end("lost", 0);
    await this.#files[Symbol.asyncDispose]();
    await Promise.all(this.#running);
    this.#stop.abort();
    await this.#rounds;
    await killLeftoverProcesses(this.#mark, { inRow: 1, gapMs: 0 });
    await this.#look;
    await this.#orphans.look();
    await this.#guardian[Symbol.asyncDispose]();
    this.#reports[Symbol.dispose]();
  }

  /** Reports the end of an attempt that was not started: the role waits for it. */
  #refuse(key: string, error: CannotStart): void {
    const { endCause: cause, exitCode, reason } = error;
    const [startedAt, signal] = [undefined, undefined];
    const facts = { startedAt, at: this.options.clock.now(), exitCode, signal, reason };
    this.#reports.add({ kind: "exited", key, cause, ...facts, collects: false });
  }

  #obey(order: Order): void {
    switch (order.kind) {
      case "start": {
        if (this.#attempts.has(order.key)) throw new TypeError(`${order.key} was started already`);
        this.#track(this.#run(order));
        return;
      }
      case "end":
        this.#collecting.get(order.key)?.abort(new Error("the task was ended"));
        return this.#attempts.get(order.key)?.attempt.end(order.cause, order.graceMs);
      case "taken":
        return this.#attempts.get(order.key)?.attempt.taken(order.stream, order.bytes);
      case "renew": {
        // The lease began when the role sent the order.
        const late = Math.max(0, this.options.clock.now() - order.sentAt);
        return this.#leases.renew(order.lease, order.forMs - late, this.#now());
      }
      case "test":
        return this.#track(this.#test());
      case "forget":
        if (this.#attempts.has(order.key)) throw new TypeError(`${order.key} has not ended`);
        this.#track(removeFolder(join(this.options.folder.artifacts, order.key)));
    }
  }

  async #run(order: StartOrder): Promise<void> {
    const { key } = order;
    let own: string | undefined;
    let cgroup: Cgroup | undefined;
    const collects = order.artifacts.length > 0;
    const attempt = this.#attempt(order, {
      cgroup: () => cgroup,
      spawn: () => {
        own = this.#takeFolder();
        const enter = () => void (cgroup = this.options.cgroups?.take());
        return startTask(this.#rules, { order, own, mark: this.#mark + key, enter });
      },
    });
    this.#attempts.set(key, { attempt, startedAt: this.#nearlyNow().boot });
    this.#orphans.changed(this.#attempts.size, this.#nearlyNow().boot);
    try {
      this.#wake();
      while (!this.#guardian.isReady) await this.#guardian.ready();
      const ended = await attempt.run();
      this.#wake();
      const { cause, reason } = attempt;
      const gathers = collects && cause !== "lost";
      this.#unswept = true;
      this.#reports.add({ kind: "exited", key, ...ended, cause, reason, collects: gathers });
      if (gathers) await this.#collect(order, own!);
    } catch (error) {
      const isPlain = error instanceof CannotStart;
      this.#refuse(key, isPlain ? error : notStarted(`Cannot start the task: ${messageOf(error)}`));
    } finally {
      this.#attempts.delete(key);
      this.#orphans.changed(this.#attempts.size, this.#nearlyNow().boot);
      const isAlone = cgroup !== undefined && this.options.cgroups!.giveBack(cgroup);
      if (own !== undefined) await this.#folders.giveBack(own, isAlone);
    }
  }

  #attempt(
    order: StartOrder,
    { cgroup, spawn }: { cgroup: () => Cgroup | undefined; spawn: () => TaskProcess },
  ): Attempt {
    return new Attempt(order, {
      clock: this.options.clock,
      report: (report) => this.#reports.add(report),
      processes: new AttemptProcesses(order.key, this.#sweeper, cgroup),
      spawn: () => {
        if (this.#leases.holds(order.lease, this.#nearlyNow())) return spawn();
        const reason = "The lease ran out before the task was started";
        throw new CannotStart("lost", undefined, reason);
      },
      watch: (group) => {
        this.#ownChildren.add(group);
        this.#guardian.add(group);
        // The process may have been stopped between the check of the lease and the start.
        this.#wake();
      },
      unwatch: (group) => {
        this.#ownChildren.delete(group);
        this.#guardian.remove(group);
      },
      windowBytes: this.options.bounds.windowBytes,
    });
  }

  #takeFolder(): string {
    try {
      return this.#folders.take();
    } catch (error) {
      // The host is the cause, not the task.
      const reason = `Cannot make a folder for the task: ${messageOf(error)}`;
      throw new CannotStart("host_failed", undefined, reason);
    }
  }

  /** Tests whether tasks can be started. */
  async #test(): Promise<void> {
    let own: string | undefined;
    const made = () => own = this.#folders.make();
    const problem = await startProblem(this.#rules, made, ({ pid, ended }) => {
      this.#ownChildren.add(pid);
      void ended.finally(() => this.#ownChildren.delete(pid));
    });
    if (own !== undefined) await this.#remove(own);
    this.#reports.add({ kind: "tested", problem });
  }

  async #collect(order: StartOrder, own: string): Promise<void> {
    const { key, artifacts: globs, cwd } = order;
    const { maxArtifacts: maxFiles } = this.options.bounds;
    const into = join(this.options.folder.artifacts, key);
    const stop = new AbortController();
    this.#collecting.set(key, stop);
    try {
      const query = { folder: cwd ?? own, globs, maxFiles };
      const found = await this.#files.collect(query, into, stop.signal);
      this.#reports.add({ kind: "collected", key, ...found });
    } finally {
      this.#collecting.delete(key);
    }
  }

  /** Removes a folder that tasks can write. */
  async #remove(folder: string): Promise<void> {
    try {
      await this.#files.remove(folder);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const level = this.#files.isClosing ? "debug" : "warn";
      this.options.log[level]("cannot remove a task's folder", {
        folder,
        error: messageOf(error),
      });
    }
  }

  #now(): Instants {
    return { monotonic: this.options.clock.monotonic(), boot: bootMs() };
  }

  /** Derived from the last tick: reading the boot time would take a tenth of a start. */
  #nearlyNow(): Instants {
    const monotonic = this.options.clock.monotonic();
    // The host may have slept since a round that is long ago.
    if (monotonic - this.#ticked.monotonic > 2 * tickMs) this.#ticked = this.#now();
    return { monotonic, boot: this.#ticked.boot + monotonic - this.#ticked.monotonic };
  }

  async #tick(): Promise<void> {
    this.#wake();
    const now = this.#ticked = this.#now();
    for (const lease of this.#leases.takePassed(now)) {
      this.#loseAll("its lease ran out without an answer from the coordinator", lease);
    }
    // Timers may run a little early.
    if (now.monotonic - this.#lastBeat < beatMs - tickMs / 2) return;
    this.#lastBeat = now.monotonic;
    this.#guardian.beat();
    this.#reports.add({ kind: "alive" });
    this.#look ??= this.#orphans.look().finally(() => this.#look = undefined);
    if (this.#unswept) await this.#sweep();
  }

  /**
   * Notices that this process was stopped for so long that the guardian may have ended everything:
   * then processes that end now did not end by themselves, and none may continue.
   */
  #wake(): void {
    const now = this.options.clock.monotonic();
    const gap = now - this.#lastTick;
    this.#lastTick = now;
    if (gap < this.options.bounds.guardianMs - beatMs) return;
    this.options.log.warn("the worker was stopped", { ms: Math.round(gap) });
    this.#guardian.woke();
    this.#loseAll("the worker was stopped");
  }

  #loseAll(why: string, lease?: string): void {
    const lost = [...this.#attempts.values()].map(({ attempt }) => attempt)
      .filter((attempt) => lease === undefined || attempt.lease === lease);
    if (lost.length > 0) {
      this.options.log.warn("ending attempts", { count: lost.length, why, lease });
    }
    for (const attempt of lost) attempt.end("lost", 0, `Ended: ${why}`);
  }

  /** Ends leftover processes of ended attempts: those that left their process group. */
  async #sweep(): Promise<void> {
    this.#unswept = false;
    let isClean = true;
    const { resting } = this.#folders;
    for (const { pid, key } of await findLeftoverProcesses(this.#mark)) {
      if (this.#attempts.has(key)) continue;
      this.options.log.info("ended a process that outlived its task", { pid, attempt: key });
      signal(pid, "SIGKILL");
      this.#unswept = true;
      isClean = false;
    }
    // Killed processes may need a moment to end.
    if (isClean) await this.#folders.swept(resting);
  }

  /** Keeps work that must be complete before the runner ends. */
  #track(work: Promise<void>): void {
    const tracked = work.catch((error) => {
      this.options.log.warn("cannot clean up", { error: messageOf(error) });
    }).finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }
}

interface RunningAttempt {
  attempt: Attempt;
  /** In milliseconds since boot. */
  startedAt: number;
}
