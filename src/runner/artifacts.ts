import { messageOf } from "../base/errors.ts";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import type { Collected } from "../tasks/orders.ts";
import { tasksCanReach, tasksMay } from "./exposure.ts";
import { fixedFolder, globMatcher, leavesFolder, normalizeGlob } from "./glob.ts";
import type { TaskUser } from "./user.ts";

/** Entries looked at for one attempt: a glob like `**` in somebody's home folder must end. */
const maxEntries = 200_000;

/** Looking goes on without a pause for so long. */
const turnMs = 20;

/** Of a reason, at most so many files are named. */
const maxNotes = 10;

export interface Harvest {
  /** The task's folder. */
  folder: string;
  /** Where the copies go. */
  into: string;
  globs: readonly string[];
  maxFiles: number;
  /** Whom the task ran as. */
  user: TaskUser;
}

/**
 * Copies the files that match, when all processes of the task have ended. It follows no link: a
 * file is taken only if it is a regular one, the one that was looked at is the one that was opened,
 * and no folder on the way to it is a link. And it follows no wish that the task could not fulfil
 * itself: what its user may not read is left out, for a worker may run as root. What cannot be taken
 * is noted.
 */
export async function collectArtifacts({ folder, into, globs, maxFiles, user }: Harvest): Promise<{
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
  const search = { root, user, note, entriesLeft: maxEntries };
  for (const raw of globs) {
    const glob = normalizeGlob(raw);
    if (leavesFolder(glob)) {
      note(`Artifact "${raw}" is outside of the task's folder`);
      continue;
    }
    const matches = globMatcher(glob);
    let matched = 0;
    let turnAt = performance.now();
    for await (const path of regularFiles(search, fixedFolder(glob))) {
      // The runner's beats must not wait for all the files that do not match.
      if (performance.now() - turnAt > turnMs) {
        await new Promise((resolve) => setTimeout(resolve, 0));
        turnAt = performance.now();
      }
      if (!matches(path)) continue;
      matched++;
      if (files.has(path)) continue;
      if (files.size >= maxFiles) {
        note(`More than ${maxFiles} artifacts: the rest was left out`);
        return { files: [...files.values()], notes };
      }
      try {
        files.set(path, await copyFile(search, path, join(into, path)));
      } catch (error) {
        note(`Artifact "${path}" was left out: ${messageOf(error)}`);
      }
    }
    if (matched === 0) note(`Artifact "${raw}" matched no file`);
  }
  return { files: [...files.values()], notes };
}

interface Search {
  root: string;
  user: TaskUser;
  note: (line: string) => void;
  entriesLeft: number;
}

/** Paths of all regular files at or below `start`, relative to `root`, in the order of names. */
async function* regularFiles(search: Search, start: string): AsyncGenerator<string> {
  const { root, user, note } = search;
  let info: Deno.FileInfo;
  try {
    info = await Deno.lstat(join(root, start));
    if (Deno.realPathSync(join(root, start)) !== join(root, start)) {
      return note(`"${start}" was left out: it is a link, or behind one`);
    }
    const isForeign = user.ids !== undefined;
    if (isForeign && !tasksCanReach(join(root, start), user)) return note(notFor(user, start));
    if (isForeign && info.isDirectory && !tasksMay("list", info, user)) {
      return note(notFor(user, start));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) note(`"${start}": ${messageOf(error)}`);
    return;
  }
  if (info.isFile) return yield start;
  if (!info.isDirectory) return note(`"${start}" was left out: not a regular file`);
  const entries: Deno.DirEntry[] = [];
  try {
    for await (const entry of Deno.readDir(join(root, start))) {
      if (--search.entriesLeft < 0) {
        return note(`More than ${maxEntries} files: the rest was left out`);
      }
      entries.push(entry);
    }
  } catch (error) {
    return note(`"${start}": ${messageOf(error)}`);
  }
  entries.sort((a, b) => a.name < b.name ? -1 : 1);
  for (const entry of entries) {
    const path = start === "" ? entry.name : `${start}/${entry.name}`;
    if (entry.isDirectory) yield* regularFiles(search, path);
    else if (entry.isFile) yield path;
    // Links and devices are named only where a glob names them outright.
  }
}

function notFor(user: TaskUser, path: string): string {
  return `"${path}" was left out: "${user.name}" may not read it`;
}

async function copyFile(
  { root, user }: Search,
  path: string,
  target: string,
): Promise<Collected> {
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
  if (!isOpenAt(source, opened)) throw new Error("it is behind a link");
  if (user.ids !== undefined && !tasksMay("read", opened, user)) {
    throw new Error(`"${user.name}" may not read it`);
  }
  await Deno.mkdir(dirname(target), { recursive: true, mode: 0o700 });
  const mode = (opened.mode ?? 0o644) & 0o777;
  try {
    return { path, file: target, mode, ...await copyBytes(file, opened.size, target) };
  } catch (error) {
    // Half a file on a disk that is full now helps nobody.
    await Deno.remove(target);
    throw error;
  }
}

/**
 * Whether the open file has this path, in the eyes of the system: a folder on the way may be a link at
 * the moment of opening, and a folder again whenever one looks at its name.
 */
function isOpenAt(path: string, { dev, ino }: Deno.FileInfo): boolean {
  if (Deno.build.os !== "linux") return Deno.realPathSync(path) === path;
  const open = "/proc/self/fd";
  for (const { name } of Deno.readDirSync(open)) {
    try {
      if (Deno.readLinkSync(`${open}/${name}`) !== path) continue;
      const info = Deno.statSync(`${open}/${name}`);
      if (info.dev === dev && info.ino === ino) return true;
    } catch (error) {
      // Closed meanwhile.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return false;
}

/** No more than there was at first: somebody may write to it without end. */
async function copyBytes(
  file: Deno.FsFile,
  mostBytes: number,
  target: string,
): Promise<{ size: number; sha256: string }> {
  using copy = await Deno.open(target, { write: true, createNew: true, mode: 0o600 });
  const hash = createHash("sha256");
  const buffer = new Uint8Array(256 * 1024);
  let size = 0;
  while (size < mostBytes) {
    const count = await file.read(buffer.subarray(0, Math.min(buffer.length, mostBytes - size)));
    if (count === null) break;
    const part = buffer.subarray(0, count);
    hash.update(part);
    for (let done = 0; done < count;) done += await copy.write(part.subarray(done));
    size += count;
  }
  return { size, sha256: hash.digest("hex") };
}
