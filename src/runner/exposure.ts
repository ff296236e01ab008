import { dirname } from "node:path";
import type { TaskUser } from "./user.ts";

/** Answers about folders are used again for this long: tasks mostly name the same ones. */
const rememberMs = 1_000;

const entered = new Map<string, { answer: boolean; at: number }>();
const mostEntered = 256;

/** Whether tasks can read a file, by its mode. False where it does not exist. */
export function tasksCanRead(path: string, user: TaskUser): boolean {
  try {
    const real = Deno.realPathSync(path);
    return tasksCanReach(real, user) && tasksMay("read", Deno.statSync(real), user);
  } catch {
    // Not there, or hidden even from the worker.
    return false;
  }
}

/**
 * Whether the tasks' user may look up names in a folder; true where it does not exist and the user
 * may know that.
 */
export function mayEnter(folder: string, user: TaskUser): boolean {
  if (user.ids === undefined) return true;
  const now = performance.now();
  const known = entered.get(folder);
  if (known !== undefined && now - known.at < rememberMs) return known.answer;
  const parent = dirname(folder);
  const answer = (parent === folder || mayEnter(parent, user)) && mayPass(folder, user);
  if (entered.size >= mostEntered) entered.clear();
  entered.set(folder, { answer, at: now });
  return answer;
}

/** One folder, with those that a link in its place leads through. */
function mayPass(folder: string, user: TaskUser): boolean {
  try {
    const real = Deno.realPathSync(folder);
    const byMode = tasksCanReach(real, user) && tasksMay("pass", Deno.statSync(real), user);
    return byMode || maySearch(real, user);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return true;
    throw error;
  }
}

/** Asks the system itself, since an access control list may allow more than the mode does. */
function maySearch(folder: string, user: TaskUser): boolean {
  const { uid, gid } = user.ids!;
  try {
    return new Deno.Command("/bin/sh", {
      args: ["-c", 'test -x "$1"', "sh", folder],
      ...{ uid, gid, cwd: "/", clearEnv: true, stdin: "null", stdout: "null", stderr: "null" },
    }).outputSync().success;
  } catch {
    return false;
  }
}

/** Whether all folders above let tasks pass. The path has no links in it. */
function tasksCanReach(path: string, user: TaskUser): boolean {
  for (let folder = dirname(path);; folder = dirname(folder)) {
    if (!tasksMay("pass", Deno.statSync(folder), user)) return false;
    if (folder === dirname(folder)) return true;
  }
}

const rights = { read: 0o4, pass: 0o1 } as const;

/** By the mode of a file or folder alone. */
export function tasksMay(
  what: keyof typeof rights,
  info: Deno.FileInfo,
  { ids }: Pick<TaskUser, "ids">,
): boolean {
  const uid = ids?.uid ?? Deno.uid() ?? -1;
  const groups = ids?.groups ?? [Deno.gid() ?? -1];
  if (uid === 0) return true;
  const right = rights[what];
  const mode = info.mode ?? 0;
  const granted = info.uid === uid ? mode >> 6 : groups.includes(info.gid ?? -1) ? mode >> 3 : mode;
  return (granted & right) === right;
}
