import { join } from "node:path";
import { UserError } from "../base/errors.ts";
import type { ArtifactFiles, LogFiles } from "../tasks/files.ts";
import type { TaskStore } from "../tasks/store.ts";
import { artifactFiles } from "./files/artifacts.ts";
import { logFiles } from "./files/logs.ts";
import { openSqliteStore } from "./sqlite/store.ts";

/**
 * Everything that a coordinator keeps, in one folder that nobody else can read:
 *
 *     tasks.db      tasks, workers, state; in use by one coordinator at a time
 *     logs/         what attempts wrote
 *     artifacts/    files that they left
 */
export function openDataFolder(
  folder: string,
): { store: TaskStore; logs: LogFiles; artifacts: ArtifactFiles } {
  try {
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
    // Also where the folder was there before.
    if (Deno.build.os !== "windows") Deno.chmodSync(folder, 0o700);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UserError(`Cannot use the data folder "${folder}": ${reason}`, {
      next: "Name a folder that can be written with --coordinator.data-dir",
      cause: error,
    });
  }
  return {
    store: openSqliteStore(join(folder, "tasks.db")),
    logs: logFiles(join(folder, "logs")),
    artifacts: artifactFiles(join(folder, "artifacts")),
  };
}
