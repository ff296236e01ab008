/**
 * The one module that writes files which must survive: each file is replaced as a whole, and
 * several files of one folder change together.
 *
 * A change of several files is staged in temporary files beside their targets, then a journal that
 * names them is renamed into place: that rename is the moment at which the change happens. After a
 * crash whoever next takes the folder's lock finishes the renames of a journal that it finds, and
 * a change without a journal never happened. The lock is the kernel's (flock), so it dies with its
 * holder.
 *
 * The calls are synchronous on purpose: an asynchronous one goes through a pool of threads, which on
 * a busy machine takes fifty times as long, and a command makes a hundred on files of a few bytes.
 */
import { basename, dirname, join, relative, resolve } from "node:path";
import { UserError } from "./errors.ts";

export type FileChange =
  | { path: string; data: string | Uint8Array; mode: number }
  | { path: string; removed: true };

export interface FileOptions {
  /** Told before each step that alters the disk; tests stop the process there. */
  faults?: { before(step: string): void };
}

export interface LockOptions extends FileOptions {
  /** Told once if another process has the lock for longer than people take for at once. */
  waiting?: () => void;
  /** How long another process may keep the lock before this gives up. */
  patienceMs?: number;
}

/** Commands finish within a second; a person is told what is waited for after that. */
const waitingMs = 1000;
const defaultPatienceMs = 30_000;
const pollMs = 20;

const lockName = ".lock";
const journalName = ".journal";

/** The temporary name of a file: known beforehand, so that a sandbox can grant it. */
export function stagedName(path: string): string {
  return join(dirname(path), `.${basename(path)}.new`);
}

function isStaged(name: string): boolean {
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

/** Whether a change of the folder was cut off after its commit, or is being made right now. */
export function isUnfinished(root: string): boolean {
  return exists(join(root, journalName));
}

/**
 * Takes the lock of a folder, creating the folder (0700) if it is absent, and first finishes what
 * a crash has cut off. What it created is gone again if nothing was written.
 */
export async function lockFolder(root: string, options: LockOptions = {}): Promise<LockedFolder> {
  const path = join(root, lockName);
  let told = false;
  for (const start = performance.now();;) {
    const created = makeFolder(root, options);
    const file = openLock(root, path, created);
    if (file !== undefined && file.tryLockSync(true)) {
      // The last holder may have removed the file between our opening and locking it.
      if (isSameFile(file, path)) {
        const folder = new LockedFolder(root, file, created, options);
        try {
          folder.recover();
        } catch (error) {
          await folder[Symbol.asyncDispose]();
          throw error;
        }
        return folder;
      }
    }
    file?.close();
    const waited = performance.now() - start;
    if (waited > (options.patienceMs ?? defaultPatienceMs)) {
      throw new UserError(`Another process keeps the lock of "${root}"`, {
        code: "locked",
        next: "End the other agent command, then try again",
      });
    }
    if (waited > waitingMs && !told) {
      told = true;
      options.waiting?.();
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** A folder whose lock this process has; disposing of it gives the lock back. */
export class LockedFolder implements AsyncDisposable {
  readonly #file: Deno.FsFile;
  /** Folders that taking the lock created, outermost first. */
  readonly #created: string[];
  readonly #options: FileOptions;

  constructor(
    readonly root: string,
    file: Deno.FsFile,
    created: string[],
    options: FileOptions,
  ) {
    this.#file = file;
    this.#created = created;
    this.#options = options;
  }

  /**
   * Makes all changes or, when it throws or the process ends before the journal is in place, none.
   * Files that already are as wanted are left alone.
   */
  commit(changes: FileChange[]): void {
    const needed: FileChange[] = [];
    for (const change of changes) if (!isDone(change)) needed.push(change);
    if (needed.length === 0) return;
    const created: string[] = [];
    const staged: string[] = [];
    try {
      for (const change of needed) {
        if ("removed" in change) continue;
        if (this.#owns(change.path)) {
          created.push(...makeFolder(dirname(change.path), this.#options));
        }
        staged.push(stagedName(change.path));
        stage(change.path, change.data, change.mode, this.#options);
      }
      for (const folder of new Set(needed.map(({ path }) => dirname(path)))) {
        syncFolder(folder);
      }
      // Relative, so that a folder that was copied or moved in between is finished where it is.
      const journal = needed.map((change) => ({
        path: relative(this.root, change.path),
        removed: "removed" in change,
      }));
      writeFileAtomic(
        join(this.root, journalName),
        JSON.stringify({ version: 1, changes: journal }),
        0o600,
        this.#options,
      );
    } catch (error) {
      for (const path of staged) discard(path);
      for (const path of created.reverse()) removeIfEmpty(path);
      throw unwritable(this.root, error);
    }
    this.recover();
  }

  /** Removes everything below the folder, and the folder; links are removed, not followed. */
  removeAll(): void {
    writeFileAtomic(
      join(this.root, journalName),
      JSON.stringify({ version: 1, removeAll: true }),
      0o600,
      this.#options,
    );
    this.recover();
  }

  /** Finishes the change whose journal is in place, or clears away one that never got so far. */
  recover(): void {
    try {
      this.#recover();
    } catch (error) {
      throw unwritable(this.root, error);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    // While the lock is held: whoever waits for this very file sees that it is gone and starts anew.
    removeIfThere(join(this.root, lockName));
    this.#file.close();
    for (const folder of this.#created.toReversed()) {
      removeIfEmpty(folder);
    }
    return Promise.resolve();
  }

  #recover(): void {
    const path = join(this.root, journalName);
    if (!exists(path)) return this.#sweep();
    const journal = readJournal(Deno.readTextFileSync(path), path);
    if (journal === "removeAll") this.#empty();
    else this.#apply(journal);
    this.#options.faults?.before(`remove ${path}`);
    removeIfThere(path);
    syncFolder(this.root);
  }

  #apply(changes: { path: string; removed: boolean }[]): void {
    const absolute = changes.map(({ path, removed }) => ({
      path: resolve(this.root, path),
      removed,
    }));
    for (const { path, removed } of absolute) {
      this.#options.faults?.before(`${removed ? "remove" : "rename"} ${path}`);
      try {
        if (removed) removeIfThere(path);
        else Deno.renameSync(stagedName(path), path);
      } catch (error) {
        // Renamed before the crash.
        if (!(error instanceof Deno.errors.NotFound)) throw unwritable(path, error);
      }
    }
    for (const folder of new Set(absolute.map(({ path }) => dirname(path)))) {
      syncFolder(folder);
    }
  }

  #sweep(): void {
    for (const { name, isFile, isDirectory } of Deno.readDirSync(this.root)) {
      const path = join(this.root, name);
      if (isFile && isStaged(name)) removeIfThere(path);
      if (!isDirectory) continue;
      for (const inner of Deno.readDirSync(path)) {
        if (inner.isFile && isStaged(inner.name)) removeIfThere(join(path, inner.name));
      }
    }
  }

  #empty(): void {
    for (const { name } of Deno.readDirSync(this.root)) {
      if (name === lockName || name === journalName) continue;
      this.#options.faults?.before(`remove ${join(this.root, name)}`);
      Deno.removeSync(join(this.root, name), { recursive: true });
    }
    this.#created.splice(0, this.#created.length, this.root);
  }

  #owns(path: string): boolean {
    return path.startsWith(this.root + "/") || path.startsWith(this.root + "\\");
  }
}

/** Writes the temporary file with its final mode and owner, down to the disk. */
function stage(
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
    // Never wider than `mode` for any instant: the umask can only take bits away, chmod then gives
    // them back. `createNew` follows no link.
    using file = Deno.openSync(staged, { write: true, createNew: true, mode });
    if (Deno.build.os !== "windows") Deno.chmodSync(staged, mode);
    giveToFolderOwner(staged);
    faults?.before(`write ${staged}`);
    writeAll(file, typeof data === "string" ? new TextEncoder().encode(data) : data);
    faults?.before(`sync ${staged}`);
    file.syncSync();
  } catch (error) {
    discard(staged);
    throw unwritable(path, error);
  }
}

function writeAll(file: Deno.FsFile, data: Uint8Array): void {
  for (let at = 0; at < data.length;) at += file.writeSync(data.subarray(at));
}

/** Where root administers a service's folder, the service must still be able to read its files. */
function giveToFolderOwner(path: string): void {
  if (Deno.build.os === "windows" || Deno.uid() !== 0) return;
  try {
    const { uid, gid } = Deno.statSync(dirname(path));
    if (uid !== null && uid !== 0) Deno.chownSync(path, uid, gid);
  } catch (error) {
    // A sandbox that grants one folder lets nobody look at the one around it.
    if (!(error instanceof Deno.errors.NotCapable)) throw error;
  }
}

/** Creates a folder and its parents with 0700; returns those that were absent, outermost first. */
function makeFolder(folder: string, options: FileOptions): string[] {
  if (exists(folder)) return [];
  try {
    options.faults?.before(`create ${folder}`);
    Deno.mkdirSync(folder, { mode: 0o700 });
    // The umask may have taken its owner's rights away.
    if (Deno.build.os !== "windows") Deno.chmodSync(folder, 0o700);
    giveToFolderOwner(folder);
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

function openLock(
  root: string,
  path: string,
  created: string[],
): Deno.FsFile | undefined {
  try {
    return Deno.openSync(path, { read: true, write: true, create: true, mode: 0o600 });
  } catch (error) {
    // The last holder has just removed the folder.
    if (error instanceof Deno.errors.NotFound && created.length === 0 && !leadsNowhere(root)) {
      return undefined;
    }
    throw unwritable(root, error);
  }
}

function leadsNowhere(folder: string): boolean {
  try {
    return Deno.lstatSync(folder).isSymlink;
  } catch {
    // It is gone by now, and will be made anew.
    return false;
  }
}

function isSameFile(file: Deno.FsFile, path: string): boolean {
  try {
    const [open, named] = [file.statSync(), Deno.lstatSync(path)];
    return open.ino === named.ino && open.dev === named.dev;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function isDone(change: FileChange): boolean {
  try {
    const { isFile, mode } = Deno.lstatSync(change.path);
    if ("removed" in change || !isFile) return false;
    if (mode !== null && (mode & 0o777) !== change.mode) return false;
    const data = typeof change.data === "string"
      ? new TextEncoder().encode(change.data)
      : change.data;
    const old = Deno.readFileSync(change.path);
    return old.length === data.length && old.every((byte, index) => byte === data[index]);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "removed" in change;
    throw unwritable(change.path, error);
  }
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

function readJournal(
  text: string,
  path: string,
): "removeAll" | { path: string; removed: boolean }[] {
  try {
    const journal = JSON.parse(text);
    if (journal.version === 1 && journal.removeAll === true) return "removeAll";
    if (journal.version === 1 && Array.isArray(journal.changes)) return journal.changes;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw new UserError(`The journal "${path}" is not one that this version wrote`, {
    code: "file_unwritable",
    next: `Look at it, then remove it with: rm ${path}`,
  });
}

/** Makes renames within a folder last. Some systems cannot; there the order of writes must do. */
function syncFolder(folder: string): void {
  try {
    using file = Deno.openSync(folder);
    file.syncSync();
  } catch (error) {
    // Windows opens no folders, some network file systems do not sync them, and a sandbox that
    // grants a single file of somebody else's folder does not grant the folder.
    if (error instanceof Deno.errors.NotFound) throw error;
  }
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function exists(path: string): boolean {
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
function discard(path: string): void {
  try {
    removeIfThere(path);
  } catch {
    // The disk that failed the write may fail this too; the next holder of the lock sweeps.
  }
}

function removeIfEmpty(folder: string): void {
  try {
    Deno.removeSync(folder);
  } catch {
    // Something else is in it by now, so it stays.
  }
}

function unwritable(path: string, cause: unknown): UserError {
  if (cause instanceof UserError) return cause;
  return new UserError(`Could not write "${path}": ${reasonOf(cause)}`, {
    code: "file_unwritable",
    next: "Nothing was changed; mend that, then run the command again",
    cause,
  });
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as { code?: string }).code;
  if (code === "ENOSPC") return "the disk is full";
  if (code === "EROFS") return "the file system is read-only";
  if (error instanceof Deno.errors.NotFound) return "its folder does not exist";
  if (error instanceof Deno.errors.NotADirectory || code === "ENOTDIR") {
    return "a file is in the place of its folder";
  }
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  if (error instanceof Deno.errors.NotCapable) {
    return "its folder does not exist, or is not to be used";
  }
  return error.message;
}
