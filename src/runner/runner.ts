import { join } from "node:path";
import type { Clock } from "../base/clock.ts";
import { messageOf, UserError } from "../base/errors.ts";
import { aborted, every } from "../base/lifetimes.ts";
import type { Log } from "../base/log.ts";
import type { Order, Report, StartOrder } from "../tasks/orders.ts";
import { collectArtifacts } from "./artifacts.ts";
import { Attempt } from "./attempt.ts";
import type { Cgroup, Cgroups } from "./cgroups.ts";
import { validateOrder } from "./access_check.ts";
import { smuggles, taskEnvironment } from "./environment.ts";
import { randomHex, removeFolder, tidyUp, type WorkerDirectory } from "./folders.ts";
import { Guardian } from "./guardian.ts";
import { type GuardianCommand, guardianCommands } from "./guardian_protocol.ts";
import { findLauncher, launch, type Launcher } from "./launch.ts";
import { bootMs, type Instants, Leases } from "./leases.ts";
import {
  AttemptProcesses,
  findLeftoverProcesses,
  killLeftoverProcesses,
  ProcessSweeper,
  signal,
} from "./leftover_processes.ts";
import { resolveProgram } from "./program.ts";
import { Reports } from "./reports.ts";
import { checkReach, type TaskUser } from "./user.ts";
import { WorkFolders } from "./work_folders.ts";

/** How often deadlines are looked at. */
const tickMs = 100;

/** Between two beats to the guardian, and two looks for processes that outlived their attempt. */
const beatMs = 1_000;

/** For all ways to start a guardian one after the other; each takes under half a second. */
const guardianStartMs = 15_000;

export interface RunnerOptions {
  folder: WorkerDirectory;
  user: TaskUser;
  /** Undefined where there are none. */
  cgroups: Cgroups | undefined;
  /** Real paths; undefined: all. */
  allowed: ReadonlySet<string> | undefined;
  /** How to start this program as a guardian. */
  guardian: GuardianCommand;
  clock: Clock;
  log: Log;
  /** Variables of the worker's own environment. */
  variable: (name: string) => string | undefined;
  /** Sends reports to the role. */
  report: (reports: Report[], transfer: ArrayBuffer[]) => void;
  launcher?: Launcher;
  bounds: {
    /** Without a beat, until the guardian acts. */
    guardianMs: number;
    /** See orders.ts. */
    windowBytes: number;
    maxArtifacts: number;
  };
}

/**
 * Starts, signals and ends tasks' processes, on orders that it checks. Disposing of it ends them
 * all.
 */
export class Runner {
  readonly instance = randomHex(4);
  readonly #attempts = new Map<string, Attempt>();
  readonly #running = new Set<Promise<void>>();
  readonly #leases = new Leases();
  readonly #mark: string;
  readonly #sweeper: ProcessSweeper;
  readonly #folders: WorkFolders;
  readonly #launcher: Launcher;
  readonly #stop = new AbortController();
  readonly #guardian: Guardian;
  readonly #rounds: Promise<void>;
  #lastTick: number;
  #ticked: Instants;
  #lastBeat = -Infinity;
  /** Attempts succeeded since the last look for what they left behind. */
  #unswept = false;
  readonly #reports: Reports;

  private constructor(private readonly options: RunnerOptions) {
    const { folder, cgroups, clock, log } = options;
    this.#mark = `${folder.mark}.${this.instance}.`;
    this.#sweeper = new ProcessSweeper(this.#mark);
    this.#folders = new WorkFolders(folder.work, options.user, cannotRemove(log));
    this.#reports = new Reports(options.report);
    this.#launcher = options.launcher ?? findLauncher();
    this.#lastTick = clock.monotonic();
    this.#ticked = this.#now();
    this.#guardian = new Guardian({
      commands: guardianCommands({
        mark: this.#mark,
        silenceMs: options.bounds.guardianMs,
        self: options.guardian,
        cgroups: cgroups?.path,
      }),
      apart: (start) => cgroups === undefined ? start() : cgroups.outside(start),
      // Two beats and a half.
      echoMs: beatMs * 2.5,
      clock,
      log,
      acted: () => this.#loseAll("the guardian ended its processes, as the worker was silent"),
    });
    this.#rounds = every({
      periodMs: tickMs,
      clock,
      signal: this.#stop.signal,
      failed: (error) => log.error("runner round failed", { error: messageOf(error) }),
    }, () => this.#tick());
  }

  /** Ends what earlier starts of this worker left behind, and then is ready for orders. */
  static async start(options: RunnerOptions): Promise<Runner> {
    const { folder, log } = options;
    await checkReach(folder.work, options.user);
    const killed = await killLeftoverProcesses(`${folder.mark}.`);
    if (killed > 0) log.warn("ended processes that an earlier start left behind", { killed });
    await tidyUp(folder, cannotRemove(log));
    const runner = new Runner(options);
    const late = AbortSignal.timeout(guardianStartMs);
    await Promise.race([runner.#guardian.ready(), aborted(late)]);
    if (runner.#guardian.isReady) return runner;
    await runner[Symbol.asyncDispose]();
    throw new UserError("Cannot start the guardian, without which no task may be started", {
      next: "The log lines above say why; bash, or busybox, with grep is what it needs",
    });
  }

  /** The guardian's process, while there is one. */
  get guardianPid(): number | undefined {
    return this.#guardian.pid;
  }

  /** What `check` refuses is logged and does nothing. */
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
    for (const attempt of this.#attempts.values()) attempt.end("lost", 0);
    await Promise.all(this.#running);
    this.#stop.abort();
    await this.#rounds;
    await killLeftoverProcesses(this.#mark, { inRow: 1, gapMs: 0 });
    await this.#guardian[Symbol.asyncDispose]();
    this.#reports[Symbol.dispose]();
  }

  /** The role waits for the end of whatever it has ordered. */
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
        const run = this.#run(order).finally(() => this.#running.delete(run));
        this.#running.add(run);
        return;
      }
      case "end":
        return this.#attempts.get(order.key)?.end(order.cause, order.graceMs);
      case "taken":
        return this.#attempts.get(order.key)?.taken(order.stream, order.bytes);
      case "renew": {
        // What the way from thread to thread took has passed of the lease already.
        const late = Math.max(0, this.options.clock.now() - order.sentAt);
        return this.#leases.renew(order.lease, order.forMs - late, this.#now());
      }
      case "forget":
        if (this.#attempts.has(order.key)) throw new TypeError(`${order.key} has not ended`);
        this.#track(removeFolder(join(this.options.folder.artifacts, order.key)));
    }
  }

  async #run(order: StartOrder): Promise<void> {
    const { clock } = this.options;
    const { key } = order;
    let own: string | undefined;
    let cgroup: Cgroup | undefined;
    const collects = order.artifacts.length > 0;
    const attempt = new Attempt(order, {
      clock,
      report: (report) => this.#reports.add(report),
      rest: new AttemptProcesses(key, this.#sweeper, () => cgroup),
      spawn: () => {
        own = this.#folders.take();
        return this.#spawn(order, own, () => cgroup = this.options.cgroups?.take());
      },
      watch: (group) => {
        this.#guardian.add(group);
        // The process may have been stopped between the check of the lease and the start.
        this.#wake();
      },
      unwatch: (group) => this.#guardian.remove(group),
      windowBytes: this.options.bounds.windowBytes,
    });
    this.#attempts.set(key, attempt);
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
      const isAlone = cgroup !== undefined && this.options.cgroups!.giveBack(cgroup);
      if (own !== undefined) await this.#folders.giveBack(own, isAlone);
    }
  }

  /** Checks the order against what this worker allows, and starts its process. */
  #spawn(order: StartOrder, own: string, enter: () => void): Deno.ChildProcess {
    const { user, allowed, variable } = this.options;
    if (!this.#leases.holds(order.lease, this.#nearlyNow())) {
      throw new CannotStart("lost", undefined, "The lease had run out before the task was started");
    }
    const env = taskEnvironment(order, { user, mark: this.#mark + order.key, own: variable });
    const smuggled = allowed && Object.keys(order.env).find(smuggles);
    if (smuggled !== undefined) {
      const reason = `This worker has worker.allow_commands and refuses the variable "${smuggled}"`;
      throw notStarted(reason);
    }
    const folder = order.cwd === undefined ? own : existingFolder(order.cwd);
    const found = resolveProgram({ program: order.argv[0]!, path: env.PATH!, folder, allowed });
    if (!("path" in found)) throw new CannotStart("not_started", found.exitCode, found.reason);
    const args = order.argv.slice(1);
    enter();
    try {
      return launch(this.#launcher, { program: found.path, args, env, folder, user });
    } catch (error) {
      throw notStarted(`Cannot start "${found.path}": ${messageOf(error)}`);
    }
  }

  async #collect(order: StartOrder, own: string): Promise<void> {
    const { key, artifacts: globs, cwd } = order;
    const into = join(this.options.folder.artifacts, key);
    try {
      const { user, bounds: { maxArtifacts: maxFiles } } = this.options;
      const harvest = await collectArtifacts({ folder: cwd ?? own, into, globs, maxFiles, user });
      this.#reports.add({ kind: "collected", key, ...harvest });
    } catch (error) {
      const notes = [`Artifacts could not be collected: ${messageOf(error)}`];
      this.#reports.add({ kind: "collected", key, files: [], notes });
    }
  }

  #now(): Instants {
    return { monotonic: this.options.clock.monotonic(), boot: bootMs() };
  }

  /** For each start: reading the boot time takes a tenth of it, so it may be a tick old. */
  #nearlyNow(): Instants {
    const monotonic = this.options.clock.monotonic();
    return { monotonic, boot: this.#ticked.boot + monotonic - this.#ticked.monotonic };
  }

  async #tick(): Promise<void> {
    this.#wake();
    const now = this.#ticked = this.#now();
    for (const lease of this.#leases.takePassed(now)) {
      this.#loseAll("its lease ran out without an answer of the coordinator", lease);
    }
    if (now.monotonic - this.#lastBeat < beatMs) return;
    this.#lastBeat = now.monotonic;
    this.#guardian.beat();
    if (this.#unswept) await this.#sweep();
  }

  /**
   * Notices that this process was stopped for so long that its guardian may have ended everything:
   * then nothing that ends now has ended by itself, and nothing may go on.
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
    const lost = [...this.#attempts.values()].filter((attempt) =>
      lease === undefined || attempt.lease === lease
    );
    if (lost.length > 0) {
      this.options.log.warn("ending attempts", { count: lost.length, why, lease });
    }
    for (const attempt of lost) attempt.end("lost", 0, `Ended, as ${why}`);
  }

  /** Ends processes of attempts that are over: those that left their group and outlived it. */
  async #sweep(): Promise<void> {
    this.#unswept = false;
    let isClean = true;
    const { resting } = this.#folders;
    for (const { pid, rest } of await findLeftoverProcesses(this.#mark)) {
      if (this.#attempts.has(rest)) continue;
      this.options.log.info("ended a process that outlived its task", { pid, attempt: rest });
      signal(pid, "SIGKILL");
      this.#unswept = true;
      isClean = false;
    }
    // What was found has been told to end, which may take it a moment.
    if (isClean) await this.#folders.swept(resting);
  }

  /** Something that is to be over before the runner is. */
  #track(work: Promise<void>): void {
    const tracked = work.catch((error) => {
      this.options.log.warn("cannot tidy up", { error: messageOf(error) });
    }).finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }
}

function cannotRemove(log: Log) {
  return (folder: string, error: unknown) =>
    log.warn("cannot remove a task's folder", { folder, error: messageOf(error) });
}

class CannotStart extends Error {
  constructor(
    readonly endCause: "not_started" | "lost",
    readonly exitCode: number | undefined,
    readonly reason: string,
  ) {
    super(reason);
  }
}

function notStarted(reason: string): CannotStart {
  return new CannotStart("not_started", undefined, reason);
}

function existingFolder(path: string): string {
  try {
    if (Deno.statSync(path).isDirectory) return path;
  } catch (error) {
    const found = error instanceof Deno.errors.NotFound ? "does not exist" : messageOf(error);
    throw notStarted(`Folder "${path}" ${found} on the worker`);
  }
  throw notStarted(`"${path}" on the worker is not a folder`);
}
