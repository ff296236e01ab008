import { setMode } from "../base/fs/file_permissions.ts";
import { join } from "node:path";
import { messageOf, UserError } from "../base/errors.ts";
import { makeDataDirectory } from "../base/fs/data_directory.ts";
import type { TaskUser } from "./user.ts";

/**
 * The worker's data folder: `lock`, `mark`, `spool/` (with `KEY.json` for each attempt whose result
 * is not delivered yet), `work/N` (where attempts run), and `artifacts/KEY` (copies that no task can
 * change). The role may use `spool` and `artifacts` only: links in `work` lead where tasks like.
 */
export interface WorkerDirectory {
  path: string;
  /** Of this data folder, the same at every start; see leftover_processes.ts. */
  mark: string;
  work: string;
  artifacts: string;
}

/**
 * Makes the data folder, and keeps it for this process alone until disposed.
 *
 * @throws {UserError} where another worker has it, or it cannot be written.
 */
export async function openWorkerDirectory(
  path: string,
  user: TaskUser,
): Promise<WorkerDirectory & Disposable> {
  // Tasks of another user pass through it, and may not list it.
  const mode = user.ids === undefined ? 0o700 : 0o711;
  makeDataDirectory({ path, sign: "lock", mode, setting: "worker.data_dir" });
  try {
    const lock = await Deno.open(join(path, "lock"), { create: true, write: true, mode: 0o600 });
    if (!await lock.tryLock(true)) {
      lock.close();
      throw new UserError(`The data folder "${path}" is in use by another worker`, {
        next: "Give this one a --worker.id or --worker.data-dir of its own",
      });
    }
    const work = join(path, "work");
    const artifacts = join(path, "artifacts");
    await Deno.mkdir(work, { recursive: true, mode });
    setMode(work, mode);
    await Deno.mkdir(artifacts, { recursive: true, mode: 0o700 });
    await Deno.mkdir(join(path, "spool"), { recursive: true, mode: 0o700 });
    const mark = await readMark(join(path, "mark"));
    return { path, mark, work, artifacts, [Symbol.dispose]: () => lock.close() };
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(`Cannot prepare the worker's data folder "${path}": ${messageOf(error)}`, {
      next: "Give it a folder that it may write: --worker.data-dir",
      cause: error,
    });
  }
}

async function readMark(file: string): Promise<string> {
  const existing = await Deno.readTextFile(file).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  });
  if (/^[0-9a-f]{16}$/.test(existing)) return existing;
  const mark = randomHex(8);
  await Deno.writeTextFile(file, mark, { mode: 0o600 });
  return mark;
}

/**
 * What proves to a coordinator that nothing runs of an earlier worker that said the same: the data
 * folder, and the place in which its processes could all be seen. A copy of the folder, as of a
 * virtual machine or an image, is another home, and so is the same one after a restart of the host
 * or in another container. Undefined where processes cannot be looked through.
 */
export async function homeOf(folder: WorkerDirectory): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return undefined;
  const { dev, ino } = await Deno.stat(join(folder.path, "mark"));
  const boot = await Deno.readTextFile("/proc/sys/kernel/random/boot_id");
  const processes = await Deno.readLink("/proc/self/ns/pid");
  const facts = new TextEncoder().encode([folder.mark, dev, ino, boot, processes].join(" "));
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", facts));
  return hash.subarray(0, 16).toHex();
}

/**
 * What an earlier start left: folders in which attempts ran, and copies of artifacts that will never
 * be sent, since that start was killed before their result was in the spool.
 */
export function leftoverFolders(
  { path, work, artifacts }: WorkerDirectory,
): { work: string[]; copies: string[] } {
  const names = (folder: string) => [...Deno.readDirSync(folder)].map(({ name }) => name);
  const kept = new Set(names(join(path, "spool")));
  const copies = names(artifacts).filter((name) => !kept.has(`${name}.json`));
  return {
    work: names(work).map((name) => join(work, name)),
    copies: copies.map((name) => join(artifacts, name)),
  };
}

/** Removes a folder that no task can write, with all that is in it; it may be missing. */
export async function removeFolder(folder: string): Promise<void> {
  try {
    await Deno.remove(folder, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

export function randomHex(bytes: number): string {
  return crypto.getRandomValues(new Uint8Array(bytes)).toHex();
}
