import { killByLibc } from "../base/libc.ts";
import type { Cgroup } from "./cgroups.ts";

/**
 * Every process of a task has AGENT_ATTEMPT in its environment, and its children inherit it. By it
 * processes are found that left their process group. Its value is `<worker>.<instance>.<attempt key>`:
 * `worker` belongs to the data folder and never changes, `instance` is new at each start of the worker.
 */
export const attemptVariable = "AGENT_ATTEMPT";

export interface LeftoverProcess {
  pid: number;
  /** The value of AGENT_ATTEMPT without the prefix that was searched for. */
  key: string;
}

/** Processes read before other work gets its turn: about a millisecond. */
const batchSize = 64;

/** All live processes whose AGENT_ATTEMPT starts with `prefix`. On systems without /proc: none. */
export async function findLeftoverProcesses(prefix: string): Promise<LeftoverProcess[]> {
  if (Deno.build.os !== "linux") return [];
  const found: LeftoverProcess[] = [];
  const wanted = new TextEncoder().encode(`${attemptVariable}=${prefix}`);
  let read = 0;
  for (const entry of Deno.readDirSync("/proc")) {
    const pid = Number(entry.name);
    if (!Number.isInteger(pid) || pid === Deno.pid) continue;
    // A host may have thousands of processes, and the runner's heartbeats must not wait for all.
    if (++read % batchSize === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    const value = markOf(pid, wanted);
    if (value !== undefined) found.push({ pid, key: value });
  }
  return found;
}

/** The value of that process's variable after `wanted`; undefined if it does not start with it. */
function markOf(pid: number, wanted: Uint8Array): string | undefined {
  let environment: Uint8Array;
  try {
    environment = Deno.readFileSync(`/proc/${pid}/environ`);
  } catch {
    // It has ended, or this user may not read it.
    return undefined;
  }
  for (let start = 0; start < environment.length;) {
    let end = environment.indexOf(0, start);
    if (end < 0) end = environment.length;
    if (startsWith(environment, start, end, wanted)) {
      return new TextDecoder().decode(environment.subarray(start + wanted.length, end));
    }
    start = end + 1;
  }
  return undefined;
}

function startsWith(bytes: Uint8Array, start: number, end: number, wanted: Uint8Array): boolean {
  if (end - start < wanted.length) return false;
  for (let i = 0; i < wanted.length; i++) if (bytes[start + i] !== wanted[i]) return false;
  return true;
}

/** Sends a signal to one process, or to a group by its negative id; false if there is none. */
export function signal(pid: number, name: Deno.Signal): boolean {
  const killed = name === "SIGKILL" ? killByLibc(pid) : undefined;
  if (killed !== undefined) return killed;
  try {
    Deno.kill(pid, name);
    return true;
  } catch (error) {
    // It has ended, or its id now belongs to a process of another user.
    if (error instanceof Deno.errors.NotFound) return false;
    if (error instanceof Deno.errors.PermissionDenied) return false;
    throw error;
  }
}

/**
 * Kills all processes whose AGENT_ATTEMPT starts with `prefix`, and repeats this until several searches
 * in a row find none: a process may start another one before it is killed, and a process between fork
 * and exec does not show its new environment yet.
 *
 * @returns how many were killed.
 */
export async function killLeftoverProcesses(
  prefix: string,
  looks = { inRow: 3, gapMs: 50 },
): Promise<number> {
  const killed = new Set<number>();
  for (let clean = 0; clean < looks.inRow;) {
    const found = await findLeftoverProcesses(prefix);
    for (const { pid } of found) if (signal(pid, "SIGKILL")) killed.add(pid);
    clean = found.length === 0 ? clean + 1 : 0;
    if (clean < looks.inRow) await new Promise((resolve) => setTimeout(resolve, looks.gapMs));
  }
  return killed.size;
}

/** The processes of one attempt that can be found without its process group. */
export class AttemptProcesses {
  constructor(
    private readonly key: string,
    private readonly sweeper: ProcessSweeper,
    private readonly cgroup: () => Cgroup | undefined,
  ) {}

  async pids(): Promise<number[]> {
    const marked = (await this.sweeper.look()).filter(({ key }) => key === this.key);
    return [...new Set([...marked.map(({ pid }) => pid), ...this.cgroup()?.pids ?? []])];
  }

  /** Kills all processes in its cgroup; `clear` also kills those outside of it. */
  kill(): void {
    this.cgroup()?.kill();
  }

  /** Kills all processes in its cgroup, and others until this many searches in a row find none. */
  async clear(looksInRow: number): Promise<void> {
    await this.cgroup()?.end();
    await this.sweeper.clear(this.key, looksInRow);
  }
}

/**
 * Searches shared by all attempts that end at about the same time: reading all of /proc takes several
 * milliseconds, too long to repeat for each attempt.
 */
export class ProcessSweeper {
  #next: Promise<LeftoverProcess[]> | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(private readonly prefix: string) {}

  /** Kills the processes of one attempt until this many searches in a row find none. */
  async clear(key: string, looksInRow: number): Promise<void> {
    for (let clean = 0; clean < looksInRow;) {
      const left = (await this.look()).filter((found) => found.key === key);
      for (const { pid } of left) signal(pid, "SIGKILL");
      clean = left.length === 0 ? clean + 1 : 0;
    }
  }

  /** The result of a search that begins after this call: one that already runs is too old. */
  look(): Promise<LeftoverProcess[]> {
    return this.#next ??= this.#lookAfter(this.#last);
  }

  async #lookAfter(previous: Promise<unknown>): Promise<LeftoverProcess[]> {
    await previous;
    await new Promise((resolve) => setTimeout(resolve, 10));
    const look = findLeftoverProcesses(this.prefix);
    this.#last = look;
    this.#next = undefined;
    return await look;
  }
}
