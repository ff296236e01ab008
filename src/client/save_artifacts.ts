import { createHash } from "node:crypto";
import { join, resolve } from "node:path";
import { ensureDir } from "@std/fs";
import { messageOf, Refusal, UserError } from "../base/errors.ts";
import { limits } from "../tasks/limits.ts";
import { TaskError, type TaskService } from "../tasks/service.ts";
import type { Artifact } from "../tasks/task.ts";

/** What is saved where. The coordinator chooses the paths; none of them leads out of `folder`. */
export interface Saving {
  tasks: Pick<TaskService, "readArtifact" | "getArtifacts">;
  taskId: string;
  artifacts: Artifact[];
  folder: string;
  force: boolean;
  signal: AbortSignal;
  /** Called after each file, with how many there are by now. */
  saved?: (count: number) => void;
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
  if (/^\/(dev|proc|sys)(\/|$)/.test(resolve(folder))) {
    throw new UserError(`Cannot save files in "${folder}": this program writes none below /dev`, {
      next: "Choose another folder with -o, such as one below /tmp",
    });
  }
  await ensureDir(folder).catch((cause) => {
    throw new UserError(`Cannot save files in "${folder}": ${messageOf(cause)}`, {
      next: "Choose another folder with -o",
      cause,
    });
  });
  for (const { path } of artifacts) {
    const found = look(folder, path);
    if (found !== undefined && !force) {
      throw new Refusal(`"${join(folder, path)}" exists`, {
        code: "exists",
        next: "Choose another folder with -o, or overwrite with --force",
      });
    }
  }
  let count = 0;
  const told = (path: string) => {
    saving.saved?.(++count);
    return path;
  };
  const written: string[] = [];
  for (const group of groupsOf(artifacts)) {
    const files = await smallFiles(saving, group);
    if (files === undefined) {
      for (const artifact of group) written.push(told(await save(saving, artifact)));
      continue;
    }
    saving.signal.throwIfAborted();
    group.forEach((artifact, at) => written.push(told(saveWhole(saving, artifact, files[at]!))));
  }
  return written;
}

/** Small files that follow each other, as far as they fit into one message; a larger one is alone. */
function* groupsOf(artifacts: Artifact[]): Generator<Artifact[]> {
  const { maxSmallFileBytes, maxSmallFiles, maxSmallFilesBytes } = limits;
  let group: Artifact[] = [];
  let bytes = 0;
  for (const artifact of artifacts) {
    const isLarge = artifact.size > maxSmallFileBytes;
    const isFull = group.length === maxSmallFiles || bytes + artifact.size > maxSmallFilesBytes;
    if (group.length > 0 && (isLarge || isFull)) {
      yield group;
      [group, bytes] = [[], 0];
    }
    if (isLarge) yield [artifact];
    else {
      group.push(artifact);
      bytes += artifact.size;
    }
  }
  if (group.length > 0) yield group;
}

/** The bytes of a group; undefined where each file has to be read by itself. */
async function smallFiles(
  { tasks, taskId }: Saving,
  group: Artifact[],
): Promise<Uint8Array[] | undefined> {
  const [first] = group;
  if (group.length < 2 || tasks.getArtifacts === undefined) return undefined;
  try {
    const paths = group.map(({ path }) => path);
    return await tasks.getArtifacts(taskId, first!.attempt, paths);
  } catch (error) {
    // A coordinator of a former version.
    if (error instanceof TaskError && error.code === "unsupported") return undefined;
    throw error;
  }
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
function look(folder: string, path: string): Deno.FileInfo | undefined {
  const names = path.split("/");
  for (let depth = 1; depth <= names.length; depth++) {
    const at = join(folder, ...names.slice(0, depth));
    const facts = lstat(at);
    if (facts === undefined) return undefined;
    if (depth === names.length) {
      if (facts.isDirectory) throw unsafe(path, `would replace the folder "${at}"`);
      return facts;
    }
    if (!facts.isDirectory) throw unsafe(path, `would go through "${at}", which is not a folder`);
  }
  return undefined;
}

function lstat(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function save(saving: Saving, artifact: Artifact): Promise<string> {
  const { taskId, tasks, signal } = saving;
  const { target, temporary } = placeOf(saving, artifact);
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
    if (size !== artifact.size || hash.digest("hex") !== artifact.sha256) throw damaged(artifact);
    await file.syncData();
    if (Deno.build.os !== "windows") await Deno.chmod(temporary, saneMode(artifact.mode));
    await Deno.rename(temporary, target);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {}); // Must not mask the first error.
    throw error;
  }
  return target;
}

/**
 * The same for a small file, without waiting for the disk: of thousands of them each sync takes longer
 * than all else, and the coordinator still has what a power cut takes.
 */
function saveWhole(saving: Saving, artifact: Artifact, data: Uint8Array): string {
  const hash = createHash("sha256").update(data).digest("hex");
  if (data.length !== artifact.size || hash !== artifact.sha256) throw damaged(artifact);
  const { target, temporary } = placeOf(saving, artifact);
  try {
    Deno.writeFileSync(temporary, data, { createNew: true, mode: 0o600 });
    if (Deno.build.os !== "windows") Deno.chmodSync(temporary, saneMode(artifact.mode));
    Deno.renameSync(temporary, target);
  } catch (error) {
    try {
      Deno.removeSync(temporary);
    } catch { /* Must not mask the first error. */ }
    throw error;
  }
  return target;
}

/** Where a file is to be, and where it is written until it is whole. */
function placeOf({ folder, force }: Saving, { path }: Artifact) {
  const target = join(folder, path);
  const parent = join(target, "..");
  Deno.mkdirSync(parent, { recursive: true });
  // Again, now that the folders exist: another artifact or program may have put a link here.
  if (look(folder, path) !== undefined && !force) {
    throw new Refusal(`"${target}" was created by another program meanwhile`, {
      next: "Overwrite with --force",
    });
  }
  return { target, temporary: join(parent, `.agent-${crypto.randomUUID()}.part`) };
}

function damaged({ path }: Artifact): UserError {
  return new UserError(`"${path}" arrived damaged: its size or checksum is wrong`, {
    code: "damaged",
    next: "Try again; if it fails again, check the coordinator's disk",
  });
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
