/**
 * Writing one file so that it survives: under a temporary name, with its final mode from the first
 * instant, down to the disk, and then renamed into place.
 *
 * The calls are synchronous on purpose: an asynchronous one goes through a pool of threads, which on
 * a busy machine takes fifty times as long, and a command makes a hundred on files of a few bytes.
 */
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { UserError } from "../errors.ts";
import { setFolderPermissions, setPermissions } from "./file_permissions.ts";

export interface FileOptions {
  /** Told before each step that alters the disk; tests stop the process there. */
  faults?: { before(step: string): void };
}

/** The temporary name of a file: known beforehand, so that a sandbox can grant it. */
export function stagedName(path: string): string {
  return join(dirname(path), `.${basename(path)}.new`);
}

export function isStaged(name: string): boolean {
  return name.startsWith(".") && name.endsWith(".new");
}

/** Replaces or creates one file: at any crash it is the old or the new one, never a part. */
export function writeFileAtomic(
  path: string,
  data: string | Uint8Array,
  mode: number,
  options: FileOptions = {},
): void {
  stage(path, data, mode, options);
  try {
    options.faults?.before(`rename ${path}`);
    Deno.renameSync(stagedName(path), path);
  } catch (error) {
    removeIfThere(stagedName(path));
    throw unwritable(path, error);
  }
  syncFolder(dirname(path));
}

/** Writes the temporary file with its final mode and owner, down to the disk. */
export function stage(
  path: string,
  data: string | Uint8Array,
  mode: number,
  { faults }: FileOptions,
): void {
  const staged = stagedName(path);
  try {
    refuseOther(path);
    faults?.before(`create ${staged}`);
    removeIfThere(staged);
    // Never wider than `mode` for any instant: the umask can only take bits away, which are then
    // given back. "wx" follows no link.
    const file = openSync(staged, "wx", mode);
    try {
      faults?.before(`give rights to ${staged}`);
      setPermissions(file, staged, mode);
      faults?.before(`write ${staged}`);
      writeAll(file, typeof data === "string" ? new TextEncoder().encode(data) : data);
      faults?.before(`sync ${staged}`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    discard(staged);
    throw unwritable(path, error);
  }
}

function writeAll(file: number, data: Uint8Array): void {
  for (let at = 0; at < data.length;) at += writeSync(file, data.subarray(at));
}

/** Creates a folder and its parents with 0700; returns those that were absent, outermost first. */
export function makeFolder(folder: string, options: FileOptions): string[] {
  if (exists(folder)) return [];
  try {
    options.faults?.before(`create ${folder}`);
    Deno.mkdirSync(folder, { mode: 0o700 });
    try {
      options.faults?.before(`give rights to ${folder}`);
      setFolderPermissions(folder, 0o700);
    } catch (error) {
      removeIfEmpty(folder);
      throw error;
    }
    return [folder];
  } catch (error) {
    // Another process was quicker.
    if (error instanceof Deno.errors.AlreadyExists) return [];
    if (!(error instanceof Deno.errors.NotFound) || dirname(folder) === folder) {
      throw unwritable(folder, error);
    }
  }
  return [...makeFolder(dirname(folder), options), ...makeFolder(folder, options)];
}

/** A rename would also replace a device or a pipe, and fail on a folder only after the commit. */
function refuseOther(path: string): void {
  try {
    const { isFile, isSymlink, isDirectory } = Deno.lstatSync(path);
    if (isFile || isSymlink) return;
    throw new Error(isDirectory ? "a folder is in its place" : "it is not a regular file");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Makes renames within a folder last. Some systems cannot; there the order of writes must do. */
export function syncFolder(folder: string): void {
  try {
    const file = Deno.openSync(folder);
    try {
      file.syncSync();
    } finally {
      file.close();
    }
  } catch (error) {
    // Windows opens no folders, some network file systems do not sync them, and a sandbox that
    // grants a single file of somebody else's folder does not grant the folder.
    if (error instanceof Deno.errors.NotFound) throw error;
  }
}

export function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

export function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new UserError(`Could not look at "${path}": ${reasonOf(error)}`, {
      code: "file_unreadable",
      next: `Run this as the owner of the folder: ls -ld ${dirname(path)}`,
      cause: error,
    });
  }
}

/** Clears up after a failure, which is what is to be told, whatever comes of this. */
export function discard(path: string): void {
  try {
    removeIfThere(path);
  } catch {
    // The disk that failed the write may fail this too; the next holder of the lock sweeps.
  }
}

export function removeIfEmpty(folder: string): void {
  try {
    Deno.removeSync(folder);
  } catch {
    // Something else is in it by now, so it stays.
  }
}

export function unwritable(path: string, cause: unknown): UserError {
  if (cause instanceof UserError) return cause;
  return new UserError(`Could not write "${path}": ${reasonOf(cause)}`, {
    code: "file_unwritable",
    next: "Nothing was changed; mend that, then run the command again",
    cause,
  });
}

/** Why a call of the file system failed, in words for people. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as { code?: string }).code;
  if (code === "ENOSPC") return "the disk is full";
  if (code === "EROFS") return "the file system is read-only";
  if (error instanceof Deno.errors.NotFound || code === "ENOENT") {
    return "its folder does not exist";
  }
  if (error instanceof Deno.errors.NotADirectory || code === "ENOTDIR") {
    return "a file is in the place of its folder";
  }
  if (error instanceof Deno.errors.PermissionDenied || code === "EACCES") {
    return "permission denied";
  }
  if (error instanceof Deno.errors.NotCapable) {
    return "its folder does not exist, or is not to be used";
  }
  return error.message;
}
