import { join } from "node:path";
import { makeDataDirectory } from "../base/fs/data_directory.ts";
import type { ArtifactFiles, LogFiles } from "../coordinator/file_stores.ts";
import type { TaskStore } from "../coordinator/store.ts";
import type { DataDisk } from "../coordinator/disk_space.ts";
import { dataDisk } from "./files/data_disk.ts";
import { artifactFiles } from "./files/artifacts.ts";
import { logFiles } from "./files/logs.ts";
import { openSqliteStore } from "./sqlite/store.ts";

/**
 * Everything that a coordinator keeps, in one folder that no other user can read:
 *
 *     tasks.db      tasks, workers, state; in use by one coordinator at a time
 *     logs/         what attempts wrote
 *     artifacts/    files that they left
 *     reserve       space that is given up for the database when the disk is full
 */
export function openCoordinatorStorage(
  folder: string,
): { store: TaskStore; logs: LogFiles; artifacts: ArtifactFiles; disk: DataDisk } {
  const setting = "coordinator.data_dir";
  makeDataDirectory({ path: folder, sign: "tasks.db", mode: 0o700, setting });
  const disk = dataDisk(folder);
  return {
    store: openStore(join(folder, "tasks.db"), disk),
    logs: logFiles(join(folder, "logs")),
    artifacts: artifactFiles(join(folder, "artifacts")),
    disk,
  };
}

/**
 * Opening a database that exists writes nothing. One that has to be made, or brought up to date, takes the
 * reserve of a full disk, as every later write does. The space tells: SQLite calls some of these errors
 * "disk I/O error".
 */
function openStore(path: string, disk: DataDisk): TaskStore {
  try {
    return openSqliteStore(path);
  } catch (error) {
    const isFull = (disk.space()?.free ?? Infinity) < disk.reserveBytes;
    if (!isFull || !disk.hasReserve) throw error;
    disk.giveUpReserve();
    return openSqliteStore(path);
  }
}
