import { join } from "node:path";
import type { TaskUser } from "./user.ts";

/** Folders that are kept ready beyond those used lately. */
const spares = 16;

/** Two changes of a folder within this time may have the same timestamp: the kernel's clock ticks. */
const tickMs = 10;

/**
 * The folders in which attempts run, one each. Making and removing one takes half as much processor
 * time as the rest of a start, so a folder that a task left empty is used again, but not while a
 * process that outlived its task may still write to it.
 */
export class WorkFolders {
  readonly #ready: string[] = [];
  #resting: { folder: string; changedAt: number; since: number }[] = [];
  #made = 0;
  /** When those that were seen to be empty were last changed. */
  readonly #seen = new Map<string, number>();

  constructor(
    private readonly parent: string,
    private readonly user: TaskUser,
    /** Removes a folder that tasks can write; never throws. */
    private readonly remove: (folder: string) => Promise<void>,
  ) {}

  /** An empty folder, for the tasks' user alone. */
  take(): string {
    const ready = this.#ready.shift();
    if (ready !== undefined) {
      if (Date.now() - (this.#seen.get(ready) ?? 0) < tickMs) this.#seen.delete(ready);
      return ready;
    }
    return this.make();
  }

  /** A new one. */
  make(): string {
    for (;;) {
      const folder = join(this.parent, String(++this.#made));
      try {
        this.#make(folder);
        return folder;
      } catch (error) {
        // An earlier start's, which could not be removed.
        if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      }
    }
  }

  #make(folder: string): void {
    Deno.mkdirSync(folder, { mode: 0o700 });
    if (this.user.ids !== undefined) Deno.chownSync(folder, this.user.ids.uid, this.user.ids.gid);
  }

  /**
   * The attempt is over.
   *
   * @param isAlone no process of it is left; otherwise the next look finds out.
   */
  async giveBack(folder: string, isAlone: boolean): Promise<void> {
    const changedAt = this.#pristine(folder);
    if (changedAt === undefined) return await this.#remove(folder);
    if (isAlone) this.#ready.push(folder);
    else this.#resting.push({ folder, changedAt, since: Date.now() });
  }

  /**
   * Deno 2.7 does not list names that are not UTF-8, but the system removes no folder that contains one.
   *
   * @returns when the folder was last changed, or undefined if it is not empty.
   */
  #empty(folder: string, changedAt: number): number | undefined {
    for (const _ of Deno.readDirSync(folder)) return undefined;
    if (changedAt === this.#seen.get(folder)) return changedAt;
    Deno.removeSync(folder);
    this.#make(folder);
    const madeAt = changeOf(Deno.lstatSync(folder));
    this.#seen.set(folder, madeAt);
    return madeAt;
  }

  /**
   * Nothing is left of attempts that ended before the look began.
   *
   * @param rested what `resting` was then.
   */
  async swept(rested: number): Promise<void> {
    for (const { folder, changedAt, since } of this.#resting.splice(0, rested)) {
      // A process that is gone by now may have written to it meanwhile.
      if (this.#isSame(folder, changedAt, since) || this.#pristine(folder) !== undefined) {
        this.#ready.push(folder);
      } else await this.#remove(folder);
    }
    const surplus = this.#ready.splice(rested + spares);
    for (const folder of surplus) await this.#remove(folder);
  }

  /** How many wait for a look. */
  get resting(): number {
    return this.#resting.length;
  }

  /** Whether it was not changed since a time at which it was empty. */
  #isSame(folder: string, changedAt: number, since: number): boolean {
    try {
      return since - changedAt > tickMs && this.#changedAt(folder) === changedAt;
    } catch {
      return false;
    }
  }

  /** When it was last changed; undefined where it is not as it was made, or not empty. */
  #pristine(folder: string): number | undefined {
    try {
      const changedAt = this.#changedAt(folder);
      return changedAt === undefined ? undefined : this.#empty(folder, changedAt);
    } catch {
      // Moved away, made unreadable, or not empty: whatever it is now, it is removed.
      return undefined;
    }
  }

  #changedAt(folder: string): number | undefined {
    const info = Deno.lstatSync(folder);
    const owner = this.user.ids?.uid ?? Deno.uid();
    if (!info.isDirectory || info.uid !== owner) return undefined;
    return ((info.mode ?? 0) & 0o7777) === 0o700 ? changeOf(info) : undefined;
  }

  async #remove(folder: string): Promise<void> {
    this.#seen.delete(folder);
    await this.remove(folder);
  }
}

/** Of a system without such times each folder is another one. */
function changeOf({ mtime }: Deno.FileInfo): number {
  return mtime?.getTime() ?? NaN;
}
