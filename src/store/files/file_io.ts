import { UserError } from "../../base/errors.ts";

/** Makes a folder that only this user can read, whatever the umask. */
export async function makeFolder(path: string): Promise<void> {
  await Deno.mkdir(path, { recursive: true, mode: 0o700 });
}

/** So that a name in a folder outlives a power cut; Windows has no such call. */
export async function syncFolder(path: string): Promise<void> {
  if (Deno.build.os === "windows") return;
  const folder = await Deno.open(path);
  try {
    await folder.sync();
  } finally {
    folder.close();
  }
}

/** Opens a file for appending; creates it, readable only by this user, where there is none. */
export async function openAppend(path: string, folder: string): Promise<Deno.FsFile> {
  const options = { create: true, append: true, mode: 0o600 };
  try {
    return await Deno.open(path, options);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw explained(error, path);
  }
  try {
    await makeFolder(folder);
    return await Deno.open(path, options);
  } catch (error) {
    throw explained(error, path);
  }
}

export async function openRead(path: string): Promise<Deno.FsFile | undefined> {
  try {
    return await Deno.open(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/**
 * Into the system's cache, which takes less time than to wake a thread for it (measured: an eighth
 * of what a coordinator does for a log); what must be on disk is synced afterwards.
 */
export function writeAll(file: Deno.FsFile, data: Uint8Array, path: string): void {
  try {
    for (let done = 0; done < data.length;) done += file.writeSync(data.subarray(done));
  } catch (error) {
    throw explained(error, path);
  }
}

export async function readAt(
  file: Deno.FsFile,
  offset: number,
  buffer: Uint8Array,
): Promise<number> {
  file.seekSync(offset, Deno.SeekMode.Start); // Moves a number; only the read may wait for a disk.
  return await file.read(buffer) ?? 0;
}

function explained(error: unknown, path: string): unknown {
  return error instanceof Error && isDiskFull(error) ? diskFull(path, error) : error;
}

/** Removes a file, or a folder with all that is in it, where there is one. */
export async function removeAny(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** ENOSPC and EDQUOT, which Deno has no classes for. */
export function isDiskFull(error: Error): boolean {
  return "code" in error && (error.code === "ENOSPC" || error.code === "EDQUOT") ||
    /\(os error (28|122)\)/.test(error.message);
}

export function diskFull(path: string, cause: Error): UserError {
  return new UserError(`The disk that holds "${path}" is full`, {
    code: "disk_full",
    next: "Free some space; work then continues by itself",
    cause,
  });
}

/**
 * Which of 1,024 folders a task's files are in, so that none has millions of entries: by the random
 * end of its id.
 */
export function shardOf(taskId: string): string {
  const dot = taskId.indexOf(".");
  return (dot < 0 ? taskId : taskId.slice(0, dot)).slice(-2);
}
