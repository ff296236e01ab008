import { reap } from "./libc.ts";

/** Clock ticks in /proc are of 1/100 s on every architecture (`USER_HZ`). */
const tickMs = 10;

export interface ChildProcess {
  pid: number;
  /** `Z`: it has ended, and nobody has taken its exit status. */
  state: string;
  group: number;
  /** In milliseconds since the host started. */
  startedAt: number;
}

/** Children of this process, also those that it did not start; none where /proc does not tell. */
export function childProcesses(): ChildProcess[] {
  const found: ChildProcess[] = [];
  for (const pid of childIds()) {
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
function childIds(): number[] {
  if (Deno.build.os !== "linux") return [];
  const found: number[] = [];
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    try {
      const text = Deno.readTextFileSync(`/proc/self/task/${name}/children`);
      found.push(...text.split(" ").filter(Boolean).map(Number));
    } catch {
      // A thread that has ended, or a kernel without this file.
    }
  }
  return found;
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
