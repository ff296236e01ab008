import type { EndCause, OutputStream, Report, StartOrder } from "../tasks/orders.ts";
import type { Clock } from "../base/clock.ts";
import { type AttemptProcesses, signal } from "./leftover_processes.ts";

/** After SIGTERM, until SIGKILL. Half of what containers' stop commands usually give. */
export const graceMs = 5_000;

/**
 * After the main process has ended, without a byte from the pipes: then whoever still holds them
 * open is looked for outside of the process group, and at last they are closed from this side.
 */
const quietMs = 1_000;

/** What a pipe holds on Linux, and so the most that one read gives. */
const readBytes = 64 * 1024;

/** Less than this is copied out of the buffer that it was read into, and the buffer used again. */
const smallBytes = 16 * 1024;

/**
 * Buffers to read into. Most tasks write little or nothing; a new buffer for each of their two pipes
 * would be most of the memory that a start takes, and Deno 2.9 lets hundreds of MiB of them gather.
 */
const spareBuffers: ArrayBuffer[] = [];
const mostSpares = 64;

/** The longest that a timer can be set for. */
const longestTimerMs = 2 ** 31 - 1;

export interface AttemptContext {
  clock: Clock;
  report: (report: Report) => void;
  processes: AttemptProcesses;
  /** Starts the process, which leads a group of its own. */
  spawn: () => Deno.ChildProcess;
  watch: (group: number) => void;
  unwatch: (group: number) => void;
  /** Output is sent as long as less than this has not been taken. */
  windowBytes: number;
}

/** How it went, as the runner saw it. */
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
  #child: Deno.ChildProcess | undefined;
  #readers: ReadableStreamBYOBReader[] = [];
  #pumps: Promise<void> | undefined;
  /** Sent, and not yet taken. */
  readonly #underway: Record<OutputStream, number> = { stdout: 0, stderr: 0 };
  readonly #room: Record<OutputStream, (() => void) | undefined> = {
    stdout: undefined,
    stderr: undefined,
  };
  #bytesSeen = 0;
  /** The main process has been waited for: its id may belong to another by now, its group's not. */
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

  /** The same for people, where the cause does not say it. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** Starts the process and settles when nothing is left of it. Throws where it cannot be started. */
  async run(): Promise<Ended> {
    const { clock, report, spawn, watch, unwatch } = this.context;
    if (this.#cause !== "exit") return this.#neverStarted();
    const child = this.#child = spawn();
    watch(child.pid);
    const startedAt = clock.now();
    report({ kind: "started", key: this.order.key, at: startedAt });
    const timeout = this.#timeout();
    this.#pumps = Promise.all([
      this.#pump(child.stdout, "stdout"),
      this.#pump(child.stderr, "stderr"),
    ]).then(() => {});
    const { exitCode, signal } = await statusOf(child);
    this.#exited = true;
    const at = clock.now();
    clearTimeout(timeout);
    await this.#endLeftovers(child.pid, exitCode !== 0);
    await this.#drained();
    clearTimeout(this.#killer);
    unwatch(child.pid);
    this.#child = undefined;
    return { cause: this.#cause, startedAt, at, exitCode, signal };
  }

  /** Ends all processes; the first cause stands, but that nothing may go on after a lost lease. */
  end(cause: "cancelled" | "timed_out" | "lost", grace: number, reason?: string): void {
    if (this.#cause === "lost") return;
    this.#reason = reason;
    if (this.#cause === "exit" || cause === "lost") this.#cause = cause;
    if (this.#child === undefined) return;
    if (grace <= 0) return this.#kill();
    this.#signalAll("SIGTERM");
    // A stopped process would not see the SIGTERM.
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

  #timeout(): ReturnType<typeof setTimeout> | undefined {
    const { timeoutMs } = this.order;
    if (timeoutMs === undefined || timeoutMs > longestTimerMs) return undefined;
    return setTimeout(() => this.end("timed_out", graceMs), timeoutMs);
  }

  #kill(): void {
    this.#signalAll("SIGKILL");
    this.context.processes.kill();
    if (this.#cause === "lost") { for (const reader of this.#readers) this.#close(reader); }
  }

  /** Until setsid has run there is no group yet, hence both. */
  #signalAll(name: Deno.Signal): void {
    const pid = this.#child!.pid;
    if (!signal(-pid, name) && !this.#exited) signal(pid, name);
  }

  /** The main process has ended: ends what it left behind. */
  async #endLeftovers(pid: number, failed: boolean): Promise<void> {
    const { processes, clock } = this.context;
    if (this.#cause === "exit") {
      signal(-pid, "SIGKILL");
      // A failed task may be given out again at once. Of others the runner looks once a second.
      return await processes.clear(failed ? 1 : 0);
    }
    // Told to end: those that the main process left behind have the rest of the grace.
    const until = clock.monotonic() + (this.#cause === "lost" ? 0 : graceMs);
    const told = new Set<number>();
    while (clock.monotonic() < until) {
      const left = await processes.pids();
      if (left.length === 0) break;
      // Those that left the group have not heard of it yet.
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
    for (let quiet = 0; !over;) {
      const before = this.#bytesSeen;
      let timer: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([pumps, new Promise((resolve) => timer = setTimeout(resolve, quietMs))]);
      clearTimeout(timer);
      // Waiting for room is not being quiet: the reader of these bytes is slow, that is all.
      const waitsForRoom = this.#room.stdout !== undefined || this.#room.stderr !== undefined;
      if (over || waitsForRoom || before !== this.#bytesSeen) continue;
      if (++quiet === 1) await processes.clear(2);
      else for (const reader of this.#readers) this.#close(reader);
    }
    await pumps;
  }

  async #pump(stream: ReadableStream<Uint8Array>, name: OutputStream): Promise<void> {
    const reader = stream.getReader({ mode: "byob" });
    this.#readers.push(reader);
    let buffer = spareBuffers.pop() ?? new ArrayBuffer(readBytes);
    while (true) {
      if (this.#underway[name] >= this.context.windowBytes && this.#cause !== "lost") {
        await new Promise<void>((resolve) => this.#room[name] = resolve);
        this.#room[name] = undefined;
      }
      const { done, value } = await reader.read(new Uint8Array(buffer));
      if (value === undefined) return; // Closed from this side.
      buffer = value.buffer;
      if (done) break;
      this.#bytesSeen += value.length;
      if (this.#cause === "lost") continue;
      this.#underway[name] += value.length;
      const isSmall = value.length < smallBytes;
      const data = isSmall ? value.slice() : value;
      if (!isSmall) buffer = new ArrayBuffer(readBytes);
      this.context.report({ kind: "output", key: this.order.key, stream: name, data });
    }
    if (spareBuffers.length < mostSpares) spareBuffers.push(buffer);
  }

  /** Its pending read ends as if the pipe had. */
  #close(reader: ReadableStreamBYOBReader): void {
    for (const name of ["stdout", "stderr"] as const) this.#room[name]?.();
    reader.cancel().catch(() => {/* The pipe broke, which was the purpose. */});
  }
}

/**
 * How a process ended. Deno has no names for real-time signals and fails to tell of one; they become
 * exit codes, as in a shell.
 */
async function statusOf(child: Deno.ChildProcess): Promise<Pick<Ended, "exitCode" | "signal">> {
  try {
    const { code, signal } = await child.status;
    return signal === null
      ? { exitCode: code, signal: undefined }
      : { exitCode: undefined, signal };
  } catch (error) {
    const number = /Invalid signal: (\d+)/.exec(String(error))?.[1];
    if (number === undefined) throw error;
    return { exitCode: 128 + Number(number), signal: undefined };
  }
}
