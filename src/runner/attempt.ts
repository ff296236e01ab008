import type { EndCause, OutputStream, Report, StartOrder } from "../tasks/orders.ts";
import { type Clock, startTimer } from "../base/clock.ts";
import type { Output } from "../base/posix_spawn.ts";
import { type AttemptProcesses, signal } from "./leftover_processes.ts";
import type { TaskProcess } from "./task_process.ts";

/** From SIGTERM to SIGKILL: half of what the stop commands of container engines allow. */
export const graceMs = 5_000;

/**
 * Without a byte from the pipes for this long after the main process has ended: first, processes
 * outside of the process group that keep them open are killed, then the pipes are closed here.
 */
const quietMs = 1_000;

export interface AttemptContext {
  clock: Clock;
  report: (report: Report) => void;
  processes: AttemptProcesses;
  /** Starts the process, which leads a group of its own. */
  spawn: () => TaskProcess;
  watch: (group: number) => void;
  unwatch: (group: number) => void;
  /** Output is sent while fewer bytes than this are not taken. */
  windowBytes: number;
}

/** How an attempt ended. */
export interface Ended {
  cause: EndCause;
  startedAt: number | undefined;
  at: number;
  exitCode: number | undefined;
  signal: string | undefined;
}

/** One attempt's processes, from the start of the first to the end of the last. */
export class Attempt {
  #cause: EndCause = "exit";
  #reason: string | undefined;
  #process: TaskProcess | undefined;
  #pumps: Promise<void> | undefined;
  /** Sent, and not yet taken. */
  readonly #underway: Record<OutputStream, number> = { stdout: 0, stderr: 0 };
  readonly #room: Record<OutputStream, (() => void) | undefined> = {
    stdout: undefined,
    stderr: undefined,
  };
  #bytesSeen = 0;
  /** The main process is reaped: its id may belong to another process by now, but not its group's. */
  #exited = false;
  #killer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly order: StartOrder,
    private readonly context: AttemptContext,
  ) {}

  get lease(): string {
    return this.order.lease;
  }

  /** Why it ends, or ended. */
  get cause(): EndCause {
    return this.#cause;
  }

  /** The same for people, if the cause does not say enough. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** Starts the process; settles when no process of it is left. Throws if it cannot be started. */
  async run(): Promise<Ended> {
    const { clock, report, spawn, watch, unwatch } = this.context;
    if (this.#cause !== "exit") return this.#neverStarted();
    const process = this.#process = spawn();
    const { pid } = process;
    watch(pid);
    const startedAt = clock.now();
    report({ kind: "started", key: this.order.key, at: startedAt });
    const timeout = this.#timeout();
    this.#pumps = Promise.all([
      this.#pump(process.stdout, "stdout"),
      this.#pump(process.stderr, "stderr"),
    ]).then(() => {});
    const { exitCode, signal } = await process.ended;
    this.#exited = true;
    const at = clock.now();
    timeout?.[Symbol.dispose]();
    await this.#endLeftovers(pid, exitCode !== 0);
    await this.#drained();
    clearTimeout(this.#killer);
    unwatch(pid);
    this.#process = undefined;
    return { cause: this.#cause, startedAt, at, exitCode, signal };
  }

  /** Ends all processes. The first cause stands, except that a lost lease replaces any other. */
  end(cause: "cancelled" | "timed_out" | "lost", grace: number, reason?: string): void {
    if (this.#cause === "lost") return;
    this.#reason = reason;
    if (this.#cause === "exit" || cause === "lost") this.#cause = cause;
    if (this.#process === undefined) return;
    if (grace <= 0) return this.#kill();
    this.#signalAll("SIGTERM");
    // A stopped process does not handle the SIGTERM.
    this.#signalAll("SIGCONT");
    this.#killer ??= setTimeout(() => this.#kill(), grace);
  }

  /** Makes room for more output. */
  taken(stream: OutputStream, bytes: number): void {
    this.#underway[stream] -= bytes;
    if (this.#underway[stream] < this.context.windowBytes) this.#room[stream]?.();
  }

  #neverStarted(): Ended {
    const [startedAt, exitCode, signal] = [undefined, undefined, undefined];
    return { cause: this.#cause, startedAt, at: this.context.clock.now(), exitCode, signal };
  }

  #timeout(): Disposable | undefined {
    const { timeoutMs } = this.order;
    if (timeoutMs === undefined) return undefined;
    return startTimer(() => this.end("timed_out", graceMs), timeoutMs);
  }

  #kill(): void {
    this.#signalAll("SIGKILL");
    this.context.processes.kill();
    if (this.#cause === "lost") this.#close();
  }

  /** Before setsid has run there is no group, so both get the signal. */
  #signalAll(name: Deno.Signal): void {
    const { pid } = this.#process!;
    if (!signal(-pid, name) && !this.#exited) signal(pid, name);
  }

  /** Ends processes that the main process left behind. */
  async #endLeftovers(pid: number, failed: boolean): Promise<void> {
    const { processes, clock } = this.context;
    if (this.#cause === "exit") {
      signal(-pid, "SIGKILL");
      // A failed task may be assigned again at once. For others the runner looks once a second.
      return await processes.clear(failed ? 1 : 0);
    }
    // After an order to end, processes that the main process left behind get the rest of the grace.
    const until = clock.monotonic() + (this.#cause === "lost" ? 0 : graceMs);
    const told = new Set<number>();
    while (clock.monotonic() < until) {
      const left = await processes.pids();
      if (left.length === 0) break;
      // Those that left the group did not get the signal yet.
      for (const pid of left.filter((pid) => !told.has(pid))) {
        told.add(pid);
        signal(pid, "SIGTERM");
      }
      await clock.sleep(50);
    }
    signal(-pid, "SIGKILL");
    await processes.clear(2);
  }

  async #drained(): Promise<void> {
    const { processes } = this.context;
    let over = false;
    const pumps = this.#pumps!.then(() => void (over = true));
    // Usually both pipes end with the process: then no timer is needed.
    await Promise.resolve();
    for (let quiet = 0; !over;) {
      const before = this.#bytesSeen;
      let timer: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([pumps, new Promise((resolve) => timer = setTimeout(resolve, quietMs))]);
      clearTimeout(timer);
      // Waiting for room is not silence: only the receiver is slow.
      const waitsForRoom = this.#room.stdout !== undefined || this.#room.stderr !== undefined;
      if (over || waitsForRoom || before !== this.#bytesSeen) continue;
      if (++quiet === 1) await processes.clear(2);
      else this.#close();
    }
    await pumps;
  }

  async #pump(output: Output, name: OutputStream): Promise<void> {
    while (true) {
      if (this.#underway[name] >= this.context.windowBytes && this.#cause !== "lost") {
        await new Promise<void>((resolve) => this.#room[name] = resolve);
        this.#room[name] = undefined;
      }
      const data = await output.read();
      if (data === undefined) return;
      this.#bytesSeen += data.length;
      if (this.#cause === "lost") continue;
      this.#underway[name] += data.length;
      this.context.report({ kind: "output", key: this.order.key, stream: name, data });
    }
  }

  /** Pending reads end like at the end of the pipes. */
  #close(): void {
    for (const name of ["stdout", "stderr"] as const) {
      this.#room[name]?.();
      this.#process![name].close();
    }
  }
}
