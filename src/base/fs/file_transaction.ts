/**
 * Several files of one folder that change together.
 *
 * A change of several files is staged in temporary files beside their targets, then a journal that
 * names them is renamed into place: that rename is the moment at which the change happens. After a
 * crash whoever next takes the folder's lock finishes the renames of a journal that it finds, and
 * a change without a journal never happened. The lock is the kernel's (flock), so it dies with its
 * holder.
 */
import { dirname, join, relative, resolve } from "node:path";
import {
  discard,
  type FileOptions,
  isStaged,
  makeFolder,
  removeIfEmpty,
  removeIfThere,
  stage,
  stagedName,
  syncFolder,
  unwritable,
  writeFileAtomic,
} from "./atomic_file.ts";
import { UserError } from "../errors.ts";
import { journalName, journalText, readJournal } from "./recovery_journal.ts";

export type FileChange =
  | { path: string; data: string | Uint8Array; mode: number }
  | { path: string; removed: true };

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
    const needed = changes.filter((change) => !isDone(change));
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
      const journal = needed.map((change) => ({
        path: relative(this.root, change.path),
        removed: "removed" in change,
      }));
      writeFileAtomic(
        join(this.root, journalName),
        journalText(journal),
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
      journalText("removeAll"),
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
    const journal = readJournal(this.root);
    if (journal === undefined) return this.#sweep();
    if (journal === "removeAll") this.#empty();
    else this.#apply(journal);
    const path = join(this.root, journalName);
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
