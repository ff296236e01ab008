import { formatBytes } from "../base/format_bytes.ts";
import type { SpaceLevel } from "./policy.ts";
import { TaskError } from "../tasks/service.ts";

/** The file system that holds the data folder. */
export interface DataDisk {
  /** Its bytes; undefined where the system does not say. */
  space(): { free: number; total: number } | undefined;
  /** Bytes that `reserve` occupies, or would. */
  readonly reserveBytes: number;
  /** Whether the reserve is there: a file that can be given up for the database. */
  readonly hasReserve: boolean;
  /** Frees the reserve. */
  giveUpReserve(): void;
  /** Makes the reserve again, where there is room for several of its kind. */
  restoreReserve(): void;
}

/**
 * What logs and artifacts leave free, at most and as a share of the file system. The reserve file is
 * beside it: other programs may take all that is free.
 */
const leftFree = { bytes: 256 * 1024 * 1024, share: 1 / 256 };

/** With less than this share free, the oldest finished tasks are removed. */
const lowShare = 1 / 10;

/** The file system is asked again after this time, or when this share of `leftFree` was written. */
const look = { everyMs: 1_000, share: 1 / 16 };

/**
 * How much room there is for what. The order in which things stop as a disk fills up: output of tasks
 * and new tasks; then, with the reserve, what the tasks that run already have to store.
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

  /** For retention. */
  get level(): SpaceLevel {
    if (this.room === 0) return "none";
    const space = this.#space;
    return space !== undefined && space.free < space.total * lowShare ? "low" : "enough";
  }

  /** Files were removed: the next look counts. */
  freed(): void {
    this.#lookedAt = -Infinity;
  }

  /** Output of this many bytes is about to be stored. */
  take(bytes: number): void {
    this.#written += bytes;
  }

  /** The same. @throws {TaskError} `exhausted` where there is no room for all of it. */
  takeWhole(bytes: number): void {
    if (this.room < bytes) throw noRoom(this.trouble ?? "its disk is full");
    this.take(bytes);
  }

  /** Why neither output nor new tasks are stored; undefined: they are. */
  get trouble(): string | undefined {
    if (this.room > 0) return undefined;
    return `the disk of its data folder is full: ${formatBytes(this.#space!.free)} are free`;
  }

  /** @throws {TaskError} `exhausted` where nothing new can be stored. */
  check(): void {
    const { trouble } = this;
    if (trouble !== undefined) throw noRoom(trouble);
  }

  /** The database could not be written. @returns whether it is worth another try. */
  isFreed(): boolean {
    if (!this.disk.hasReserve) return false;
    this.disk.giveUpReserve();
    this.#lookedAt = -Infinity;
    return true;
  }

  /** To be called often: restores the reserve when there is room again. */
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
      // Near the end each byte counts.
      const room = (this.#space?.free ?? Infinity) - this.#wanted() - this.#written;
      if (this.#written === 0 || room > this.#wanted()) return;
    }
    this.#space = this.disk.space();
    this.#lookedAt = now;
    this.#written = 0;
  }
}

export function noRoom(trouble: string): TaskError {
  return new TaskError("exhausted", `The coordinator stores nothing new: ${trouble}`, undefined, {
    next: "Free some space there; the coordinator then continues by itself",
  });
}
