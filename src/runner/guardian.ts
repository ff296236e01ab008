import { messageOf } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { backoffMs } from "../base/retry.ts";
import type { GuardianCommand } from "./guardian_protocol.ts";
import { findLauncher } from "./launch.ts";
import { defaultPath } from "./program.ts";
import { signal } from "./leftover_processes.ts";

export interface GuardianOptions {
  /** See `guardianCommands`. If one never answers, the next one is tried. */
  commands: GuardianCommand[];
  /**
   * A guardian that sends no echo for this long is replaced. Shorter than the silence after which it
   * acts, so that one that was stopped and continues cannot act on a healthy worker.
   */
  echoMs: number;
  /** Starts it outside of the attempts' cgroups. */
  apart: (start: () => Deno.ChildProcess) => Deno.ChildProcess;
  clock: Clock;
  log: Log;
  /** It has ended everything, since the worker was silent for too long. */
  acted: () => void;
}

/**
 * Changes are sent after this delay, together; a group that starts and ends within it is not sent.
 * Until then the guardian finds its processes by their cgroup or mark alone.
 */
const tellAfterMs = 50;

/** From the end of a guardian to the start of the next: at once, then ever more rarely. */
const restart = { firstMs: 20, factor: 3, longestMs: 2_000 };

/** The runner's side of the guardian: sends it groups and beats, and replaces it when it is gone. */
export class Guardian {
  readonly #groups = new Set<number>();
  readonly #changes = new Map<number, "+" | "-">();
  #teller: ReturnType<typeof setTimeout> | undefined;
  #child: Deno.ChildProcess | undefined;
  #input: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #answered = false;
  #acted = false;
  #waiting: (() => void)[] = [];
  #beats = 0;
  /** Echoes of older beats were written before this process was stopped. */
  #firstBeat = 0;
  #lastEcho = 0;
  #failures = 0;
  #choice = 0;
  #closing = false;
  #ended: Promise<void>;

  constructor(private readonly options: GuardianOptions) {
    this.#ended = this.#keepAlive();
  }

  /** Its process, while it has one. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get isReady(): boolean {
    return this.#answered;
  }

  /** Settles when a guardian works; no process of a task is started before. */
  ready(): Promise<void> {
    if (this.#answered) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  add(group: number): void {
    this.#groups.add(group);
    this.#change(group, "+");
  }

  remove(group: number): void {
    this.#groups.delete(group);
    this.#change(group, "-");
  }

  /** Once a second. */
  beat(): void {
    if (this.#child === undefined) return;
    if (this.options.clock.monotonic() - this.#lastEcho > this.options.echoMs) {
      this.options.log.warn("guardian does not answer, replacing it", { pid: this.#child.pid });
      signal(this.#child.pid, "SIGKILL");
      return;
    }
    this.#tell(`b ${++this.#beats}\n`);
  }

  /**
   * This process was stopped. Missing echoes say nothing about the guardian, but it may be killing
   * everything: it counts as ready again when it answers a new beat.
   */
  woke(): void {
    this.#lastEcho = this.options.clock.monotonic();
    this.#answered = false;
    this.#firstBeat = this.#beats + 1;
    this.beat();
  }

  /** Closes its input: it ends leftover processes and exits. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#teller);
    const child = this.#child;
    await this.#input?.close().catch(() => {/* It is gone already. */});
    const late = setTimeout(() => child && signal(child.pid, "SIGKILL"), this.options.echoMs * 2);
    await this.#ended;
    clearTimeout(late);
  }

  #change(group: number, what: "+" | "-"): void {
    if (what === "-" && this.#changes.get(group) === "+") this.#changes.delete(group);
    else this.#changes.set(group, what);
    this.#teller ??= setTimeout(() => {
      this.#teller = undefined;
      const words = [...this.#changes].map(([pid, sign]) => sign + pid);
      this.#changes.clear();
      if (words.length > 0) this.#tell(words.join(" ") + "\n");
    }, tellAfterMs);
  }

  #tell(text: string): void {
    // If the guardian has ended, the end of its process is handled elsewhere.
    this.#input?.write(new TextEncoder().encode(text)).catch(() => {});
  }

  async #keepAlive(): Promise<void> {
    const { clock, log } = this.options;
    while (!this.#closing) {
      try {
        await this.#live();
      } catch (error) {
        log.error("cannot start the guardian", { error: messageOf(error) });
      }
      if (!this.#answered && !this.#acted) this.#choice++;
      this.#answered = this.#acted = false;
      this.#child = this.#input = undefined;
      if (this.#closing) return;
      await clock.sleep(backoffMs(restart, ++this.#failures, Math.random()));
    }
  }

  /** One guardian's life. */
  async #live(): Promise<void> {
    const { commands, apart, clock, log } = this.options;
    const choice = commands[this.#choice % commands.length]!;
    const launcher = findLauncher();
    const [path, args] = launcher.setsid !== undefined
      ? [launcher.setsid, [choice.command, ...choice.args]]
      : [choice.command, choice.args];
    const command = new Deno.Command(path, {
      args,
      env: { PATH: defaultPath, LC_ALL: "C" },
      clearEnv: true,
      cwd: "/",
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
      ...(launcher.setsid === undefined ? { detached: true } : {}),
    });
    const child = apart(() => command.spawn());
    this.#child = child;
    this.#input = child.stdin.getWriter();
    // The rejection of the next write says the same.
    this.#input.closed.catch(() => {});
    this.#lastEcho = clock.monotonic();
    this.#changes.clear();
    if (this.#groups.size > 0) {
      this.#tell([...this.#groups].map((pid) => `+${pid}`).join(" ") + "\n");
    }
    this.#tell(`b ${++this.#beats}\n`);
    let rest = "";
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.#heard(line);
    }
    const { code, signal: killedBy } = await child.status;
    if (this.#closing || this.#acted) return;
    log.warn("guardian ended, replacing it", {
      pid: child.pid,
      code,
      signal: killedBy ?? undefined,
    });
  }

  #heard(line: string): void {
    if (line === "acted" && !this.#closing) {
      this.#acted = true;
      this.#answered = false;
      this.options.acted();
    }
    if (!line.startsWith("b ") || Number(line.slice(2)) < this.#firstBeat) return;
    this.#lastEcho = this.options.clock.monotonic();
    if (this.#answered) return;
    this.#answered = true;
    this.#failures = 0;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
