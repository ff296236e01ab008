import { dirname } from "node:path";
import type { TaskUser } from "./user.ts";

/**
 * Whether tasks could read a file: with the ids of their user, without groups beyond the first.
 * False where it does not exist.
 */
export function tasksCanRead(path: string, user: TaskUser): boolean {
  try {
    const real = Deno.realPathSync(path);
    return tasksCanReach(real, user) && tasksMay("read", Deno.statSync(real), user);
  } catch {
    // Not there, or hidden even from the worker.
    return false;
  }
}

/** Whether all folders above let tasks pass. The path has no links in it. */
export function tasksCanReach(path: string, user: TaskUser): boolean {
  for (let folder = dirname(path);; folder = dirname(folder)) {
    if (!tasksMay("pass", Deno.statSync(folder), user)) return false;
    if (folder === dirname(folder)) return true;
  }
}

const rights = { read: 0o4, pass: 0o1, list: 0o5 } as const;

/** By the mode of a file or folder alone. */
export function tasksMay(
  what: keyof typeof rights,
  info: Deno.FileInfo,
  { ids }: Pick<TaskUser, "ids">,
): boolean {
  const uid = ids?.uid ?? Deno.uid() ?? -1;
  const gid = ids?.gid ?? Deno.gid() ?? -1;
  if (uid === 0) return true;
  const right = rights[what];
  const mode = info.mode ?? 0;
  const granted = info.uid === uid ? mode >> 6 : info.gid === gid ? mode >> 3 : mode;
  return (granted & right) === right;
}
