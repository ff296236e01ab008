/**
 * Changes several files of one folder together.
 *
 * The new files are staged under temporary names beside their targets, then a journal that names them
 * is renamed into place: with that rename the change has happened. After a crash the next process
 * that takes the folder's lock finishes the renames of the journal that it finds; a change without a
 * journal never happened. The lock is the kernel's (flock), so it dies with its holder.
 *
 * A journal is an order to rename and remove files. It is only obeyed within its own folder, and only
 * if this user or root wrote it (see recovery_journal.ts). Lock only folders that are ours: a folder
 * that a person named for output may hold anything; there use `writeFiles`.
 */
import { dirname, join, relative, resolve } from "node:path";
import {
  discard,
  type FileOptions,
  isStaged,
  makeFolder,
  type NewFile,
  removeIfEmpty,
  removeIfThere,
  renameStaged,
  stage,
  stagedName,
  syncFolder,
  unwritable,
} from "./atomic_file.ts";
import { UserError } from "../errors.ts";
import { isWithin } from "./paths.ts";
import { type Journal, journalName, journalText, readJournal } from "./recovery_journal.ts";

export type FileChange = NewFile | { path: string; removed: true };

export interface LockOptions extends FileOptions {
  /** Called once if the wait for another process exceeds 1 s. */
  waiting?: () => void;
  /** Maximum wait for another process; 30 s by default. */
  timeoutMs?: number;
}

/** Commands finish within a second; after that a person wants to know why nothing happens. */
const waitingMs = 1000;
const defaultTimeoutMs = 30_000;
const pollMs = 20;

const lockName = ".lock";

/** A journal holds paths and no secret; a service must be able to read the one that root left. */
const journalMode = 0o644;

/**
 * Takes the lock of a folder, creating the folder (0700) if it is absent, and finishes a change that
 * a crash cut off. Folders that it created are removed again if nothing was written.
 *
 * @throws {UserError} `locked`, `file_unwritable`, `file_unreadable` or `unknown_journal`.
 */
export async function lockFolder(root: string, options: LockOptions = {}): Promise<LockedFolder> {
  const path = join(root, lockName);
  let hasWaited = false;
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
    if (waited > (options.timeoutMs ?? defaultTimeoutMs)) {
      throw new UserError(`Another process keeps the lock of "${root}"`, {
        code: "locked",
        next: "End the other agent command, then try again",
      });
    }
    if (waited > waitingMs && !hasWaited) {
      hasWaited = true;
      options.waiting?.();
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** A folder whose lock this process holds; disposing of it releases the lock. */
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
   * Files that already have the right content and mode are not written.
   *
   * Files outside of the folder are staged before the change and renamed after it: a crash in between
   * leaves their old content.
   */
  commit(changes: FileChange[]): void {
    const needed = changes.filter((change) => !isDone(change));
    const inside = needed.filter(({ path }) => this.#owns(path));
    const outside = needed.filter(({ path }) => !this.#owns(path));
    const created: string[] = [];
    const staged: string[] = [];
    try {
      for (const change of [...inside, ...outside]) {
        if ("removed" in change) continue;
        if (this.#owns(change.path)) {
          created.push(...makeFolder(dirname(change.path), this.#options));
        }
        staged.push(stagedName(change.path));
        stage(change, this.#options);
      }
      for (const folder of new Set(needed.map(({ path }) => dirname(path)))) syncFolder(folder);
      if (inside.length > 0) {
        this.#writeJournal(inside.map((change) => ({
          path: relative(this.root, change.path),
          removed: "removed" in change,
        })));
      }
    } catch (error) {
      for (const path of staged) discard(path);
      for (const path of created.reverse()) removeIfEmpty(path);
      throw unwritable(this.root, error);
    }
    if (inside.length > 0) this.recover();
    for (const change of outside) this.#changeOutside(change);
  }

  /** Removes everything below the folder, and the folder; links are removed, not followed. */
  removeAll(): void {
    this.#writeJournal("removeAll");
    this.recover();
  }

  #writeJournal(journal: Journal): void {
    const path = join(this.root, journalName);
    // Root never executes a journal of another user, so its own journal must stay its own.
    stage({ path, data: journalText(journal), mode: journalMode }, {
      ...this.#options,
      keepsOwner: true,
    });
    renameStaged(path, this.#options);
    syncFolder(this.root);
  }

  #changeOutside(change: FileChange): void {
    if ("removed" in change) removeIfThere(change.path);
    else renameStaged(change.path, this.#options);
    syncFolder(dirname(change.path));
  }

  /** Finishes the change whose journal is in place, or removes what one without a journal left. */
  recover(): void {
    try {
      this.#recover();
    } catch (error) {
      throw unwritable(this.root, error);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    // While the lock is held: a process that waits for this very file sees that it is gone.
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
    return path !== this.root && isWithin(this.root, path);
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
    // It is gone by now; the caller makes it again.
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
