import type { Cgroup } from "./cgroups.ts";

/**
 * Every process of a task has AGENT_ATTEMPT in its environment, and its children inherit it: so
 * those that left their process group are found. Its value is `<worker>.<instance>.<attempt key>`:
 * `worker` belongs to the data folder and stays the same at each start, `instance` belongs to one
 * start of the worker's process.
 */
export const attemptVariable = "AGENT_ATTEMPT";

export interface LeftoverProcess {
  pid: number;
  /** Its mark without the prefix that was searched for: the attempt's key, after an instance's prefix. */
  key: string;
}

/** Processes read before others get their turn: about a millisecond. */
const batchSize = 64;

/** All live processes whose mark starts with `prefix`. On systems without /proc: none. */
export async function findLeftoverProcesses(prefix: string): Promise<LeftoverProcess[]> {
  if (Deno.build.os !== "linux") return [];
  const found: LeftoverProcess[] = [];
  const wanted = new TextEncoder().encode(`${attemptVariable}=${prefix}`);
  let read = 0;
  for (const entry of Deno.readDirSync("/proc")) {
    const pid = Number(entry.name);
    if (!Number.isInteger(pid) || pid === Deno.pid) continue;
    // A host may have thousands of processes: the runner's beats must not wait for all of them.
    if (++read % batchSize === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    const value = markOf(pid, wanted);
    if (value !== undefined) found.push({ pid, key: value });
  }
  return found;
}

/** What follows `wanted` in the variable of that process; undefined if it has none such. */
function markOf(pid: number, wanted: Uint8Array): string | undefined {
  let environment: Uint8Array;
  try {
    environment = Deno.readFileSync(`/proc/${pid}/environ`);
  } catch {
    // It has ended, or belongs to a user whose processes are not ours.
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
  try {
    Deno.kill(pid, name);
    return true;
  } catch (error) {
    // A group of zombies only, or one that belongs to another user by now, is not ours to end.
    if (error instanceof Deno.errors.NotFound) return false;
    if (error instanceof Deno.errors.PermissionDenied) return false;
    throw error;
  }
}

/**
 * Kills all processes whose mark starts with `prefix`, again and again until some looks in a row
 * found none: one that was found may just have started another, and one between fork and exec does
 * not show its new environment yet.
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

  /** Kills all processes in its cgroup, and marked ones until that many looks in a row find none. */
  async clear(looksInRow: number): Promise<void> {
    await this.cgroup()?.end();
    await this.sweeper.clear(this.key, looksInRow);
  }
}

/**
 * Looks shared by all attempts that end at about the same time: reading all of /proc takes some
 * milliseconds, which no attempt is worth alone.
 */
export class ProcessSweeper {
  #next: Promise<LeftoverProcess[]> | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(private readonly prefix: string) {}

  /** Kills what is left of one attempt, until that many looks in a row found nothing. */
  async clear(key: string, looksInRow: number): Promise<void> {
    for (let clean = 0; clean < looksInRow;) {
      const left = (await this.look()).filter((found) => found.key === key);
      for (const { pid } of left) signal(pid, "SIGKILL");
      clean = left.length === 0 ? clean + 1 : 0;
    }
  }

  /** What a look that begins after this call finds: one that is already under way is too old. */
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
