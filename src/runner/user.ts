import { UserError } from "../base/errors.ts";

/** The user that tasks run as. */
export interface TaskUser {
  name: string;
  home: string;
  /** Undefined: the worker's own. `groups` are all groups of the user, with the primary one. */
  ids: { uid: number; gid: number; groups: number[] } | undefined;
}

/**
 * The user that tasks run as.
 *
 * @param name `worker.user`; undefined means the worker's own.
 * @throws {UserError} where there is no such user, or this process may not become it.
 */
export async function findTaskUser(name: string | undefined): Promise<TaskUser> {
  const own = Deno.uid();
  const entry = await passwdEntry(name ?? String(own));
  if (name === undefined) {
    return {
      name: entry?.name ?? Deno.env.get("USER") ?? String(own),
      home: entry?.home ?? Deno.env.get("HOME") ?? "/",
      ids: undefined,
    };
  }
  if (entry === undefined) {
    throw new UserError(`User "${name}" (worker.user) does not exist`, {
      next: `useradd --system --create-home ${name}`,
    });
  }
  if (entry.uid === own) return { name: entry.name, home: entry.home, ids: undefined };
  if (own !== 0) {
    throw new UserError(`Only root can run tasks as another user, "${name}" (worker.user)`, {
      next: "Start the worker as root, or leave worker.user out",
    });
  }
  const { uid, gid } = entry;
  const groups = await groupsOf(entry.name, gid);
  return { name: entry.name, home: entry.home, ids: { uid, gid, groups } };
}

/** All groups of a user, from id(1): GPUs and sound devices are open to a group each. */
async function groupsOf(name: string, primary: number): Promise<number[]> {
  let text = "";
  try {
    const command = new Deno.Command("id", { args: ["-G", "--", name], stdin: "null" });
    text = new TextDecoder().decode((await command.output()).stdout);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  const groups = text.trim().split(/\s+/).filter((word) => /^\d+$/.test(word)).map(Number);
  return [...new Set([primary, ...groups])];
}

/**
 * Checks that the tasks' user can enter the folder in which tasks start.
 *
 * @throws {UserError} where it cannot.
 */
export async function checkReach(folder: string, user: TaskUser): Promise<void> {
  if (user.ids === undefined) return;
  try {
    const { uid, gid } = user.ids;
    await new Deno.Command("/bin/sh", { args: ["-c", ":"], cwd: folder, uid, gid }).output();
  } catch (error) {
    if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    throw new UserError(`"${user.name}" (worker.user) cannot reach the tasks' folder "${folder}"`, {
      next: "Name a data folder whose parent folders it may enter, with --worker.data-dir",
      cause: error,
    });
  }
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

/** By name or number, from getent(1), which also knows users of directories such as LDAP. */
async function passwdEntry(wanted: string): Promise<PasswdEntry | undefined> {
  let text: string;
  try {
    const output = await new Deno.Command("getent", {
      args: ["passwd", "--", wanted],
      stdin: "null",
      stderr: "null",
    }).output();
    text = new TextDecoder().decode(output.stdout);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    try {
      text = await Deno.readTextFile("/etc/passwd");
    } catch (missing) {
      if (missing instanceof Deno.errors.NotFound) return undefined;
      throw missing;
    }
  }
  return findEntry(text, wanted);
}

/** The entry of that name or number in text of the form of passwd(5). */
export function findEntry(text: string, wanted: string): PasswdEntry | undefined {
  for (const line of text.split("\n")) {
    const [name, , uid, gid, , home] = line.split(":");
    if (!name || !uid || !gid || (name !== wanted && uid !== wanted)) continue;
    return { name, uid: Number(uid), gid: Number(gid), home: home || "/" };
  }
  return undefined;
}
