import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import type { Collected } from "../tasks/orders.ts";
import { text } from "./folders.ts";
import { fixedFolder, globToRegExp, leavesFolder, normalizeGlob } from "./glob.ts";

/** Entries looked at for one attempt: a glob like `**` in somebody's home folder must end. */
const maxEntries = 200_000;

/** Of a reason, at most so many files are named. */
const maxNotes = 10;

export interface Harvest {
  /** The task's folder. */
  folder: string;
  /** Where the copies go. */
  into: string;
  globs: readonly string[];
  maxFiles: number;
}

/**
 * Copies the files that match, when all processes of the task have ended. It follows no link: a
 * file is taken only if it is a regular one, the one that was looked at is the one that was opened,
 * and no folder on the way to it is a link. What cannot be taken is noted and left out.
 */
export async function collectArtifacts({ folder, into, globs, maxFiles }: Harvest): Promise<{
  files: Collected[];
  notes: string[];
}> {
  const files = new Map<string, Collected>();
  const notes: string[] = [];
  const note = (line: string) => {
    if (notes.length < maxNotes) notes.push(line);
    else if (notes.length === maxNotes) notes.push("and more");
  };
  let root: string;
  try {
    root = Deno.realPathSync(folder);
  } catch {
    return { files: [], notes: ["The task removed its own folder: there are no artifacts"] };
  }
  const budget = { entries: maxEntries };
  for (const raw of globs) {
    const glob = normalizeGlob(raw);
    if (leavesFolder(glob)) {
      note(`Artifact "${raw}" is outside of the task's folder`);
      continue;
    }
    const pattern = globToRegExp(glob);
    let matched = 0;
    for await (const path of regularFiles(root, fixedFolder(glob), budget, note)) {
      if (!pattern.test(path)) continue;
      matched++;
      if (files.has(path)) continue;
      if (files.size >= maxFiles) {
        note(`More than ${maxFiles} artifacts: the rest was left out`);
        return { files: [...files.values()], notes };
      }
      try {
        files.set(path, await copyFile(root, path, join(into, path)));
      } catch (error) {
        note(`Artifact "${path}" was left out: ${text(error)}`);
      }
    }
    if (matched === 0) note(`Artifact "${raw}" matched no file`);
  }
  return { files: [...files.values()], notes };
}

/** Paths of all regular files at or below `start`, relative to `root`, in the order of names. */
async function* regularFiles(
  root: string,
  start: string,
  budget: { entries: number },
  note: (line: string) => void,
): AsyncGenerator<string> {
  let info: Deno.FileInfo;
  try {
    info = await Deno.lstat(join(root, start));
    if (Deno.realPathSync(join(root, start)) !== join(root, start)) {
      return note(`"${start}" was left out: it is a link, or behind one`);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) note(`"${start}": ${text(error)}`);
    return;
  }
  if (info.isFile) return yield start;
  if (!info.isDirectory) return note(`"${start}" was left out: not a regular file`);
  const entries: Deno.DirEntry[] = [];
  try {
    for await (const entry of Deno.readDir(join(root, start))) {
      if (--budget.entries < 0) return note(`More than ${maxEntries} files: the rest was left out`);
      entries.push(entry);
    }
  } catch (error) {
    return note(`"${start}": ${text(error)}`);
  }
  entries.sort((a, b) => a.name < b.name ? -1 : 1);
  for (const entry of entries) {
    const path = start === "" ? entry.name : `${start}/${entry.name}`;
    if (entry.isDirectory) yield* regularFiles(root, path, budget, note);
    else if (entry.isFile) yield path;
    // Links and devices are named only where a glob names them outright.
  }
}

async function copyFile(root: string, path: string, target: string): Promise<Collected> {
  const source = join(root, path);
  // Before the open: that of a pipe would wait for its other end.
  const seen = await Deno.lstat(source);
  if (!seen.isFile) throw new Error("not a regular file");
  using file = await Deno.open(source, { read: true });
  const opened = await file.stat();
  const again = await Deno.lstat(source);
  for (const info of [seen, again]) {
    if (!info.isFile || info.dev !== opened.dev || info.ino !== opened.ino) {
      throw new Error("it changed while it was being read");
    }
  }
  if (await Deno.realPath(source) !== source) throw new Error("it is behind a link");
  await Deno.mkdir(dirname(target), { recursive: true, mode: 0o700 });
  using copy = await Deno.open(target, { write: true, createNew: true, mode: 0o600 });
  const hash = createHash("sha256");
  const buffer = new Uint8Array(256 * 1024);
  let size = 0;
  for (let count; (count = await file.read(buffer)) !== null;) {
    const part = buffer.subarray(0, count);
    hash.update(part);
    for (let done = 0; done < count;) done += await copy.write(part.subarray(done));
    size += count;
  }
  return {
    path,
    file: target,
    size,
    mode: (opened.mode ?? 0o644) & 0o777,
    sha256: hash.digest("hex"),
  };
}
