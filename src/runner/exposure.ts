import { dirname } from "node:path";
import type { TaskUser } from "./user.ts";

/**
 * Whether tasks could read a file: with the ids of their user, without groups beyond the first.
 * False where it does not exist.
 */
export function tasksCanRead(path: string, user: TaskUser): boolean {
  const uid = user.ids?.uid ?? Deno.uid() ?? -1;
  const gid = user.ids?.gid ?? Deno.gid() ?? -1;
  try {
    const real = Deno.realPathSync(path);
    if (uid === 0) return true;
    for (let folder = dirname(real);; folder = dirname(folder)) {
      if (!allows(Deno.statSync(folder), uid, gid, 0o1)) return false;
      if (folder === dirname(folder)) break;
    }
    return allows(Deno.statSync(real), uid, gid, 0o4);
  } catch {
    // Not there, or hidden even from the worker.
    return false;
  }
}

/** @param right 4 to read, 1 to search. */
function allows(info: Deno.FileInfo, uid: number, gid: number, right: number): boolean {
  const mode = info.mode ?? 0;
  if (info.uid === uid) return ((mode >> 6) & right) !== 0;
  if (info.gid === gid) return ((mode >> 3) & right) !== 0;
  return (mode & right) !== 0;
}
