/**
 * Sets modes and owners on what is open and not on a path: the owner of the folder around it could
 * put a link in its place between two calls, and root would give away the file that it leads to.
 */
import { closeSync, fchmodSync, fchownSync, fstatSync, openSync } from "node:fs";
import { dirname } from "node:path";

/** Gives an open file or folder its exact mode, whatever the umask was. */
export function setPermissions(descriptor: number, mode: number): void {
  if (Deno.build.os === "windows") return;
  fchmodSync(descriptor, mode);
}

/** Gives an open file or folder that root made the owner of the folder around it. */
export function setOwner(descriptor: number, path: string): void {
  if (Deno.build.os === "windows") return;
  const owner = folderOwner(path);
  if (owner !== undefined) fchownSync(descriptor, owner.uid, owner.gid);
}

/**
 * Both of these for a folder that was just made.
 *
 * @throws {Deno.errors.NotFound} where it is gone, or something else has taken its place.
 */
export function setFolderPermissions(path: string, mode: number): void {
  if (Deno.build.os === "windows") return;
  onDescriptor(path, mode, (descriptor) => {
    setPermissions(descriptor, mode);
    setOwner(descriptor, path);
  });
}

/** Gives a file or folder its mode, unless a link has taken its place. */
export function setMode(path: string, mode: number): void {
  if (Deno.build.os === "windows") return;
  onDescriptor(path, mode, (descriptor) => fchmodSync(descriptor, mode));
}

function onDescriptor(path: string, mode: number, give: (descriptor: number) => void): void {
  let descriptor: number;
  try {
    descriptor = openSync(path, "r");
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "ENOENT") throw new Deno.errors.NotFound(`"${path}" is gone`, { cause: error });
    if (code !== "EACCES") throw error;
    // The umask may deny even the owner. Root, for whom a link would be dangerous, is never denied.
    return Deno.chmodSync(path, mode);
  }
  try {
    // The runtime does not pass O_NOFOLLOW on, so what was opened is compared with what is there.
    const open = fstatSync(descriptor);
    const named = Deno.lstatSync(path);
    if (open.ino !== named.ino || open.dev !== named.dev) {
      throw new Deno.errors.NotFound(`Something else has taken the place of "${path}"`);
    }
    give(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Where root administers a service's folder, the service must still be able to read its files. */
function folderOwner(path: string): { uid: number; gid: number } | undefined {
  try {
    if (Deno.uid() !== 0) return undefined;
    const { uid, gid } = Deno.statSync(dirname(path));
    return uid === null || gid === null || uid === 0 ? undefined : { uid, gid };
  } catch (error) {
    // A sandbox that grants one folder does not grant a look at the one around it.
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}
