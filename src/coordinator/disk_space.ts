import { formatBytes } from "../base/format_bytes.ts";
import type { SpaceLevel } from "./policy.ts";
import { TaskError } from "../tasks/service.ts";

/** The file system that holds the data folder. */
export interface DataDisk {
  /** Its size and free space in bytes; undefined if the system does not report them. */
  space(): { free: number; total: number } | undefined;
  /** Size of the reserve file. */
  readonly reserveBytes: number;
  /** Whether the reserve file exists. It is deleted when the database needs its space. */
  readonly hasReserve: boolean;
  /** Deletes the reserve file. */
  giveUpReserve(): void;
  /** Makes the reserve file again, if there is space for several of its size. */
  restoreReserve(): void;
}

/**
 * Space that logs and artifacts leave free: the smaller of a number of bytes and a share of the file
 * system. The reserve file comes on top of it, because other programs may use all free space.
 */
const leftFree = { bytes: 256 * 1024 * 1024, share: 1 / 256 };

/** With less than this share free, the oldest finished tasks are removed. */
const lowShare = 1 / 10;

/** Free space is read again after this time, or when this share of `leftFree` was written. */
const look = { everyMs: 1_000, share: 1 / 16 };

/**
 * Decides what may still be stored. As a disk fills up, output of tasks and new tasks are refused first.
 * The reserve then lets the database store the results of tasks that already run.
 */
export class DiskSpace {
  #space: { free: number; total: number } | undefined;
  #lookedAt = -Infinity;
  #tendedAt = -Infinity;
  #written = 0;

  constructor(readonly disk: DataDisk, readonly monotonic: () => number) {}

  /** Bytes of output that can be stored now. */
  get room(): number {
    this.#look();
    if (this.#space === undefined) return Infinity;
    return Math.max(0, this.#space.free - this.#wanted() - this.#written);
  }

  /** How much space is left, for retention. */
  get level(): SpaceLevel {
    if (this.room === 0) return "none";
    const space = this.#space;
    return space !== undefined && space.free < space.total * lowShare ? "low" : "enough";
  }

  /** Called when files were removed: free space is read again. */
  freed(): void {
    this.#lookedAt = -Infinity;
  }

  /** Counts output that is about to be stored. */
  take(bytes: number): void {
    this.#written += bytes;
  }

  /** As `take`. @throws {TaskError} `exhausted` if there is not enough space for all of it. */
  takeWhole(bytes: number): void {
    if (this.room < bytes) throw noRoom(this.trouble ?? "its disk is full");
    this.take(bytes);
  }

  /** Why output and new tasks are refused; undefined if they are not. */
  get trouble(): string | undefined {
    if (this.room > 0) return undefined;
    return `the disk of its data folder is full: ${formatBytes(this.#space!.free)} are free`;
  }

  /** @throws {TaskError} `exhausted` if nothing new can be stored. */
  check(): void {
    const { trouble } = this;
    if (trouble !== undefined) throw noRoom(trouble);
  }

  /** Called if the database cannot be written. @returns whether space was freed for another try. */
  isFreed(): boolean {
    if (!this.disk.hasReserve) return false;
    this.disk.giveUpReserve();
    this.#lookedAt = -Infinity;
    return true;
  }

  /** Restores the reserve when there is space again. Call it often. */
  tend(): void {
    const now = this.monotonic();
    if (now - this.#tendedAt < look.everyMs) return;
    this.#tendedAt = now;
    this.disk.restoreReserve();
  }

  #wanted(): number {
    const { hasReserve, reserveBytes } = this.disk;
    const total = this.#space?.total ?? 0;
    return Math.min(leftFree.bytes, total * leftFree.share) + (hasReserve ? 0 : reserveBytes);
  }

  #look(): void {
    const now = this.monotonic();
    const isRecent = now - this.#lookedAt < look.everyMs;
    if (isRecent && this.#written < leftFree.bytes * look.share) {
      // When little is left, free space is read again for each write.
      const room = (this.#space?.free ?? Infinity) - this.#wanted() - this.#written;
      if (this.#written === 0 || room > this.#wanted()) return;
    }
    this.#space = this.disk.space();
    this.#lookedAt = now;
    this.#written = 0;
  }
}

export function noRoom(trouble: string): TaskError {
  return new TaskError(
    "exhausted",
    `The coordinator cannot store anything new: ${trouble}`,
    undefined,
    {
      next: "Free some space there; the coordinator then continues by itself",
    },
  );
}
