import { createHash } from "node:crypto";
import { join } from "node:path";
import { ensureDir } from "@std/fs";
import { messageOf, Refusal, UserError } from "../base/errors.ts";
import { limits } from "../tasks/limits.ts";
import type { TaskService } from "../tasks/service.ts";
import type { Artifact } from "../tasks/task.ts";

/** What is saved where. The coordinator chooses the paths; none of them leads out of `folder`. */
export interface Saving {
  tasks: Pick<TaskService, "readArtifact">;
  taskId: string;
  artifacts: Artifact[];
  folder: string;
  force: boolean;
  signal: AbortSignal;
}

/**
 * Writes each artifact to `folder/<its path>`. All paths are checked before the first byte is written;
 * each file appears whole and with the right checksum, or not at all.
 *
 * @returns the paths of the files that were written.
 */
export async function saveArtifacts(saving: Saving): Promise<string[]> {
  const { artifacts, folder, force } = saving;
  checkPaths(artifacts.map(({ path }) => path));
  await ensureDir(folder).catch((cause) => {
    throw new UserError(`Cannot save files in "${folder}": ${messageOf(cause)}`, {
      next: "Choose another folder with -o",
      cause,
    });
  });
  for (const { path } of artifacts) {
    const found = await look(folder, path);
    if (found !== undefined && !force) {
      throw new Refusal(`"${join(folder, path)}" exists`, {
        code: "exists",
        next: "Choose another folder with -o, or overwrite with --force",
      });
    }
  }
  const written: string[] = [];
  for (const artifact of artifacts) written.push(await save(saving, folder, artifact));
  return written;
}

/** Each path is safe, and none needs a folder where another has a file. */
function checkPaths(paths: string[]): void {
  const files = new Set<string>();
  for (const path of paths) {
    checkPath(path);
    if (files.has(path)) throw unsafe(path, "is listed twice");
    files.add(path);
  }
  for (const path of paths) {
    for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
      if (files.has(path.slice(0, at))) throw unsafe(path, "needs a folder that is also a file");
    }
  }
}

/** Relative and of plain names; drives and streams of Windows are refused there. */
function checkPath(path: string): void {
  const names = path.split("/");
  if (path.length > limits.maxPathLength) throw unsafe(path.slice(0, 100), "is too long");
  if (names.some((name) => name === "" || name === "." || name === "..")) {
    throw unsafe(path, "leads out of the folder");
  }
  if (/\p{Cc}/u.test(path)) throw unsafe(path, "contains a control character");
  const windows = Deno.build.os === "windows";
  if (windows && /[\\:*?"<>|]/.test(path)) throw unsafe(path, "is not a valid name on this system");
}

/** The existing file, if any. No folder on the way to it may be a symbolic link. */
async function look(folder: string, path: string): Promise<Deno.FileInfo | undefined> {
  const names = path.split("/");
  for (let depth = 1; depth <= names.length; depth++) {
    const at = join(folder, ...names.slice(0, depth));
    const facts = await lstat(at);
    if (facts === undefined) return undefined;
    if (depth === names.length) {
      if (facts.isDirectory) throw unsafe(path, `would replace the folder "${at}"`);
      return facts;
    }
    if (!facts.isDirectory) throw unsafe(path, `would go through "${at}", which is not a folder`);
  }
  return undefined;
}

async function lstat(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function save(saving: Saving, folder: string, artifact: Artifact): Promise<string> {
  const { taskId, tasks, signal, force } = saving;
  const target = join(folder, artifact.path);
  const parent = join(target, "..");
  await ensureDir(parent);
  // Again, now that the folders exist: another artifact or program may have put a link here.
  if (await look(folder, artifact.path) !== undefined && !force) {
    throw new Refusal(`"${target}" was created by another program meanwhile`, {
      next: "Overwrite with --force",
    });
  }
  const temporary = join(parent, `.agent-${crypto.randomUUID()}.part`);
  try {
    const file = await Deno.open(temporary, { write: true, createNew: true, mode: 0o600 });
    using _ = file;
    const hash = createHash("sha256");
    let size = 0;
    const query = { taskId, attempt: artifact.attempt, path: artifact.path };
    for await (const { data } of tasks.readArtifact(query, signal)) {
      signal.throwIfAborted();
      size += data.length;
      if (size > artifact.size) break;
      hash.update(data);
      await writeAll(file, data);
    }
    signal.throwIfAborted();
    if (size !== artifact.size || hash.digest("hex") !== artifact.sha256) {
      throw new UserError(`"${artifact.path}" arrived damaged: its size or checksum is wrong`, {
        code: "damaged",
        next: "Try again; if it fails again, check the coordinator's disk",
      });
    }
    await file.syncData();
    if (Deno.build.os !== "windows") await Deno.chmod(temporary, saneMode(artifact.mode));
    await Deno.rename(temporary, target);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {}); // Must not mask the first error.
    throw error;
  }
  return target;
}

/** Removes set-user-id, set-group-id and sticky bits and write access of others; the owner may read and write. */
export function saneMode(mode: number): number {
  return mode & 0o755 | 0o600;
}

async function writeAll(file: Deno.FsFile, data: Uint8Array): Promise<void> {
  let at = 0;
  while (at < data.length) at += await file.write(data.subarray(at));
}

function unsafe(path: string, why: string): UserError {
  return new UserError(`Refused the artifact "${path}": it ${why}`, { code: "unsafe_path" });
}
