import { reap } from "./libc.ts";

/** Clock ticks in /proc are of 1/100 s on every architecture (`USER_HZ`). */
const tickMs = 10;

export interface ChildProcess {
  pid: number;
  /** `Z`: it has ended, and its parent has not read its exit status. */
  state: string;
  group: number;
  /** In milliseconds since the host started. */
  startedAt: number;
}

/** Children of a process, also those that it did not start; none where /proc does not tell. */
export function childProcesses(of: number = Deno.pid): ChildProcess[] {
  const found: ChildProcess[] = [];
  for (const pid of childIds(of)) {
    const child = factsOf(pid);
    if (child !== undefined) found.push(child);
  }
  return found;
}

/** For PID 1 of a container, which has to take the exit statuses of all orphans. */
export function reapChildren(): void {
  for (const { pid, state } of childProcesses()) if (state === "Z") reap(pid);
}

/** Each thread has its own; orphans become children of the first thread that lives. */
function childIds(pid: number): number[] {
  const found: number[] = [];
  try {
    for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
      const text = Deno.readTextFileSync(`/proc/${pid}/task/${name}/children`);
      found.push(...text.split(" ").filter(Boolean).map(Number));
    }
  } catch {
    // It, or a thread of it, has ended, or the kernel does not have this file.
  }
  return found;
}

/** The process group of a process; 0 if that is not known. */
export function processGroup(pid: number): number {
  return factsOf(pid)?.group ?? 0;
}

/** From proc_pid_stat(5); undefined if it is gone. */
function factsOf(pid: number): ChildProcess | undefined {
  let text: string;
  try {
    text = Deno.readTextFileSync(`/proc/${pid}/stat`);
  } catch {
    return undefined;
  }
  // The name, in parentheses, may hold anything.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, , group] = fields;
  return { pid, state: state!, group: Number(group), startedAt: Number(fields[19]) * tickMs };
}
