import { basename, join } from "node:path";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

/** Empty cgroups that are kept for reuse: making one takes as long as moving a process into it. */
const spares = 16;

/** After a kill: how often to check whether all processes have ended, and how many times. */
const ending = { gapMs: 5, checks: 400 };

/**
 * Control groups (cgroups(7), version 2), one for each attempt. All processes of a task stay in its
 * cgroup, also if they change their session, environment or parent, and one write kills them all.
 *
 * A new process starts in the cgroup of the process that forked it. So this process is always alone in
 * the cgroup of the next attempt, and moves on to another one after it has started the attempt. Moving
 * the child instead would leave it time to fork, and moving there and back at each start would be
 * slow: the first move after a pause waits for all processors (about 10 ms).
 *
 * The cgroups are below the worker's own one, so that limits of the worker also limit its tasks; they
 * set no limits themselves. Each start of a worker has its own folder: the guardian of a killed worker
 * may still be removing that worker's cgroups when the next worker starts.
 */
export class Cgroups implements Disposable {
  readonly #made = new Set<Cgroup>();
  readonly #ready: Cgroup[] = [];
  #count = 0;
  /** The cgroup that this process is in; undefined if it could not enter one. */
  #next: Cgroup | undefined;
  #isTaken = false;
  #hasFailed = false;
  #mover: ReturnType<typeof setTimeout> | undefined;

  private constructor(
    /** The parent of all attempts' cgroups. */
    readonly path: string,
    private readonly home: Deno.FsFile,
    private readonly log: Log,
  ) {}

  /**
   * Makes a folder of cgroups, and kills the processes that earlier starts with the same name left.
   *
   * @param name without a dot.
   * @returns undefined if there is no `cgroup.kill` (Linux 5.14), or if this process may not make
   * cgroups, as in most containers and for most users.
   */
  static async open(name: string, log: Log): Promise<Cgroups | undefined> {
    if (Deno.build.os !== "linux") return undefined;
    try {
      const own = ownCgroup(
        Deno.readTextFileSync("/proc/self/cgroup"),
        Deno.readTextFileSync("/proc/self/mountinfo"),
      );
      if (own === undefined) return undefined;
      for (const old of childrenOf(own)) {
        if (basename(old) === name || basename(old).startsWith(`${name}.`)) await endTree(old);
      }
      const path = join(own, `${name}.${crypto.randomUUID()}`);
      Deno.mkdirSync(path);
      const home = Deno.openSync(join(own, "cgroup.procs"), { write: true });
      const cgroups = new Cgroups(path, home, log);
      cgroups.#moveOn();
      if (cgroups.#next !== undefined) return cgroups;
      cgroups[Symbol.dispose]();
    } catch (error) {
      // Processes are then found by their group and by AGENT_ATTEMPT.
      log.debug("no cgroups for tasks", { reason: messageOf(error) });
    }
    return undefined;
  }

  /** The cgroup of the process that is started next; nothing else may be started in between. */
  take(): Cgroup | undefined {
    if (this.#isTaken || this.#next === undefined) this.#moveOn();
    if (this.#next === undefined) return undefined;
    this.#isTaken = true;
    // Later, so that the start is reported first: moving may be slow after a pause.
    this.#mover ??= setTimeout(() => this.#moveOn(), 0);
    return this.#next;
  }

  /** Starts a process that belongs to no attempt. */
  outside<T>(start: () => T): T {
    if (this.#next === undefined) return start();
    moveTo(this.home);
    try {
      return start();
    } finally {
      try {
        moveTo(this.#next.procs);
      } catch {
        // Someone removed the cgroup while it was empty.
        this.#moveOn();
      }
    }
  }

  /**
   * Takes back the cgroup of an ended attempt. If processes in it could not be killed, it stays.
   *
   * @returns whether it was empty.
   */
  giveBack(cgroup: Cgroup): boolean {
    this.#leave(cgroup);
    if (!cgroup.isEmpty) return false;
    if (this.#ready.length < spares && !cgroup.hasChildren) this.#ready.push(cgroup);
    else this.#remove(cgroup);
    return true;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#mover);
    if (this.#made.size > 0) moveTo(this.home);
    for (const cgroup of this.#made) this.#remove(cgroup);
    removeTree(this.path);
    this.home.close();
  }

  #leave(cgroup: Cgroup): void {
    if (cgroup === this.#next && this.#isTaken) this.#moveOn();
  }

  #moveOn(): void {
    clearTimeout(this.#mover);
    this.#mover = undefined;
    this.#isTaken = false;
    try {
      this.#next = this.#enterReady() ?? this.#enter(this.#make());
      this.#hasFailed = false;
    } catch (error) {
      if (!this.#hasFailed) this.log.warn("no cgroup for a task", { reason: messageOf(error) });
      this.#hasFailed = true;
      moveTo(this.home);
      this.#next = undefined;
    }
  }

  /** Enters a spare cgroup; drops those that someone has removed. */
  #enterReady(): Cgroup | undefined {
    for (let next; (next = this.#ready.pop()) !== undefined;) {
      try {
        return this.#enter(next);
      } catch (error) {
        this.log.debug("a cgroup is gone", { path: next.path, reason: messageOf(error) });
        this.#remove(next);
      }
    }
    return undefined;
  }

  #enter(cgroup: Cgroup): Cgroup {
    moveTo(cgroup.procs);
    return cgroup;
  }

  #make(): Cgroup {
    const path = join(this.path, `task-${++this.#count}`);
    // Someone may have removed the folder too.
    Deno.mkdirSync(path, { recursive: true });
    const cgroup = new Cgroup(path, (cgroup) => this.#leave(cgroup));
    this.#made.add(cgroup);
    return cgroup;
  }

  #remove(cgroup: Cgroup): void {
    this.#made.delete(cgroup);
    cgroup[Symbol.dispose]();
    removeTree(cgroup.path);
  }
}

/** The cgroup of one attempt. Its files stay open, which makes each check three times as fast. */
export class Cgroup implements Disposable {
  readonly procs: Deno.FsFile;
  readonly #events: Deno.FsFile;
  readonly #kill: Deno.FsFile;
  readonly #buffer = new Uint8Array(128);

  constructor(
    readonly path: string,
    /** Called before the cgroup is read or killed: this process may be in it, and leaves it. */
    private readonly leave: (cgroup: Cgroup) => void = () => {},
  ) {
    this.procs = Deno.openSync(join(path, "cgroup.procs"), { write: true });
    this.#events = Deno.openSync(join(path, "cgroup.events"));
    this.#kill = Deno.openSync(join(path, "cgroup.kill"), { write: true });
  }

  /** All processes in it, and in cgroups that a task made in it. */
  get pids(): number[] {
    this.leave(this);
    return pidsIn(this.path);
  }

  get isEmpty(): boolean {
    this.#events.seekSync(0, Deno.SeekMode.Start);
    const count = this.#events.readSync(this.#buffer) ?? 0;
    return new TextDecoder().decode(this.#buffer.subarray(0, count)).includes("populated 0");
  }

  /** Whether a task has made cgroups in it. */
  get hasChildren(): boolean {
    // Each child's `..` is a link.
    return Deno.statSync(this.path).nlink !== 2;
  }

  /** Sends SIGKILL to all processes in it, and to those that they start meanwhile. */
  kill(): void {
    // This process could not leave it; processes are then killed by group and by AGENT_ATTEMPT.
    if (this.pids.includes(Deno.pid)) return;
    this.#kill.writeSync(new TextEncoder().encode("1"));
  }

  /** Kills all processes in it and waits for their end: 2 s at most, as one may wait for a disk. */
  async end(): Promise<void> {
    this.leave(this);
    for (let checks = 0; checks < ending.checks && !this.isEmpty; checks++) {
      this.kill();
      await new Promise((resolve) => setTimeout(resolve, ending.gapMs));
    }
  }

  [Symbol.dispose](): void {
    for (const file of [this.procs, this.#events, this.#kill]) file.close();
  }
}

/** Sends SIGKILL to all processes in the cgroups of a folder, except the one that `worker` is in. */
export function killCgroups(path: string, worker: number): void {
  for (const child of childrenOf(path)) {
    try {
      if (!pidsIn(child).includes(worker)) Deno.writeTextFileSync(join(child, "cgroup.kill"), "1");
    } catch {
      // It was empty, and has been removed meanwhile.
    }
  }
}

/**
 * The folder of this process's own cgroup.
 *
 * @param cgroup text of /proc/self/cgroup
 * @param mountinfo text of /proc/self/mountinfo (proc_pid_mountinfo(5))
 */
export function ownCgroup(cgroup: string, mountinfo: string): string | undefined {
  const path = /^0::(.*)$/m.exec(cgroup)?.[1];
  if (path === undefined || path.includes("/..")) return undefined;
  for (const line of mountinfo.split("\n")) {
    const [before, after] = line.split(" - ");
    if (!after?.startsWith("cgroup2 ")) continue;
    const [, , , root, point] = before!.split(" ").map(unescaped);
    const shown = root === "/" ? "" : root!;
    if (path === shown || path.startsWith(`${shown}/`)) return point + path.slice(shown.length);
  }
  return undefined;
}

/** mountinfo writes white space in names as octal escapes. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(parseInt(code, 8)));
}

function pidsIn(path: string): number[] {
  const text = Deno.readTextFileSync(join(path, "cgroup.procs"));
  const own = text.split("\n").filter(Boolean).map(Number);
  return [...own, ...childrenOf(path).flatMap(pidsIn)];
}

function childrenOf(path: string): string[] {
  return [...Deno.readDirSync(path)].filter(({ isDirectory }) => isDirectory)
    .map(({ name }) => join(path, name));
}

/** Kills all processes in the folder of an earlier start, and removes it. */
async function endTree(path: string): Promise<void> {
  try {
    // Not `using`: minifying drops one whose variable is used once.
    const left = new Cgroup(path);
    try {
      await left.end();
    } finally {
      left[Symbol.dispose]();
    }
  } catch (error) {
    // The guardian of that start removed it at the same time.
    if (!(error instanceof Deno.errors.NotFound) && !isGone(error)) throw error;
  }
  removeTree(path);
}

/** ENODEV: the cgroup was removed while one of its files was open. */
function isGone(error: unknown): boolean {
  return error instanceof Error && /No such device/.test(error.message);
}

/** Removes empty cgroups. The others stay, and the next start removes them. */
export function removeTree(path: string): void {
  try {
    for (const child of childrenOf(path)) removeTree(child);
    Deno.removeSync(path);
  } catch {
    // A killed process has not ended yet, or someone else removed it.
  }
}

/** Moves this process. */
function moveTo(procs: Deno.FsFile): void {
  procs.writeSync(new TextEncoder().encode("0"));
}
