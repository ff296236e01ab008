import { statfsSync } from "node:fs"; // Deno has no call of its own for free space.
import { join } from "node:path";
import { removeIfThere } from "../../base/fs/atomic_file.ts";
import type { DataDisk } from "../../coordinator/disk_space.ts";
import { writeAll } from "./file_io.ts";

/** Enough for the results of ten thousand running tasks; less on small file systems. */
const reserve = { bytes: 4 * 1024 * 1024, share: 1 / 32 };

/**
 * The disk of a data folder, with a reserve file in it that only this program gives up. Its bytes are
 * random: some file systems store zeros in no space.
 */
export function dataDisk(folder: string): DataDisk {
  const path = join(folder, "reserve");
  const space = () => {
    try {
      const { bsize, blocks, bavail } = statfsSync(folder);
      // Some network and container file systems know no sizes.
      return blocks > 0 ? { free: bavail * bsize, total: blocks * bsize } : undefined;
    } catch {
      return undefined; // Not every system says; a disk that is full is noticed by writing, too.
    }
  };
  const total = space()?.total;
  const reserveBytes = total === undefined
    ? 0
    : Math.floor(Math.min(reserve.bytes, total * reserve.share));
  let hasReserve = reserveBytes > 0 && sizeOf(path) === reserveBytes;
  return {
    space,
    reserveBytes,
    get hasReserve() {
      return hasReserve;
    },
    giveUpReserve() {
      hasReserve = false;
      removeIfThere(path);
    },
    restoreReserve() {
      // Room for four: what has just become free should not be gone at once.
      if (hasReserve || reserveBytes === 0 || (space()?.free ?? 0) < 4 * reserveBytes) return;
      hasReserve = fill(path, reserveBytes);
    },
  };
}

function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

/** @returns true if everything was written. */
function fill(path: string, bytes: number): boolean {
  const block = new Uint8Array(64 * 1024);
  try {
    using file = Deno.openSync(path, { create: true, truncate: true, write: true, mode: 0o600 });
    for (let done = 0; done < bytes; done += block.length) {
      crypto.getRandomValues(block);
      writeAll(file, block.subarray(0, bytes - done), path);
    }
    return true;
  } catch {
    removeIfThere(path); // The disk is full again: the next try is a second away.
    return false;
  }
}
