/**
 * Writes one file so that it survives: under a temporary name, with its final mode from the first
 * instant, synced to the disk, and then renamed into place.
 *
 * The calls are synchronous on purpose: an asynchronous one goes through a pool of threads, which on
 * a busy machine takes fifty times as long, and a command makes a hundred on files of a few bytes.
 */
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { UserError } from "../errors.ts";
import { setFolderPermissions, setOwner, setPermissions } from "./file_permissions.ts";
import { reasonOf } from "./reason.ts";

export interface FileOptions {
  /** Called before each step that alters the disk; tests stop the process there. */
  faults?: { before(step: string): void };
}

export interface NewFile {
  path: string;
  data: string | Uint8Array;
  mode: number;
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
  writeFiles([{ path, data, mode }], options);
}

/**
 * Replaces or creates files: none where it throws before the first rename. A crash between the
 * renames leaves some of them new and the others old, so this is for folders that are no state of
 * ours; a `LockedFolder` changes several files at once.
 */
export function writeFiles(files: NewFile[], options: FileOptions = {}): void {
  try {
    for (const file of files) stage(file, options);
    for (const { path } of files) renameStaged(path, options);
  } catch (error) {
    for (const { path } of files) discard(stagedName(path));
    throw error;
  }
  for (const folder of new Set(files.map(({ path }) => dirname(path)))) syncFolder(folder);
}

/** Moves what was staged for a file into its place. */
export function renameStaged(path: string, { faults }: FileOptions): void {
  try {
    faults?.before(`rename ${path}`);
    Deno.renameSync(stagedName(path), path);
  } catch (error) {
    throw unwritable(path, error);
  }
}

/**
 * Writes the temporary file, with its final mode and owner, to the disk.
 *
 * @param keepsOwner the file stays the property of this process's user, where root would otherwise
 * give it to the owner of its folder.
 */
export function stage(
  { path, data, mode }: NewFile,
  { faults, keepsOwner = false }: FileOptions & { keepsOwner?: boolean },
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
      faults?.before(`set permissions of ${staged}`);
      setPermissions(file, mode);
      if (!keepsOwner) setOwner(file, staged);
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
export function makeFolder(folder: string, options: FileOptions = {}): string[] {
  if (exists(folder)) return [];
  try {
    options.faults?.before(`create ${folder}`);
    Deno.mkdirSync(folder, { mode: 0o700 });
    try {
      options.faults?.before(`set permissions of ${folder}`);
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

/** Makes renames within a folder durable, where the system can. */
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
    // grants a single file of another owner's folder does not grant the folder.
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

/** Removes a file after a failure. Best effort: it must not mask the original error. */
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
  const isMissing = cause instanceof Deno.errors.NotFound ||
    (cause as { code?: string }).code === "ENOENT";
  const reason = isMissing ? "its folder does not exist" : reasonOf(cause);
  return new UserError(`Could not write "${path}": ${reason}`, {
    code: "file_unwritable",
    next: "Nothing was changed; fix that, then run the command again",
    cause,
  });
}
