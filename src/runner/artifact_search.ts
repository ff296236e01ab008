import { closeSync, constants, fstatSync, lstatSync, openSync } from "node:fs";
import { join } from "node:path";
import { messageOf } from "../base/errors.ts";
import { formatBytes } from "../base/format_bytes.ts";
import { namesNotUtf8 } from "../base/libc.ts";
import { fixedFolder, globMatcher, leavesFolder, normalizeGlob } from "./glob.ts";

/** Entries read for one attempt: a glob like `**` in a home folder must end. */
const maxEntries = 200_000;

/** At most this many notes about files that were left out. */
const maxNotes = 10;

export interface ArtifactQuery {
  /** The task's folder. */
  folder: string;
  globs: readonly string[];
  maxFiles: number;
  /** Of all files together; Infinity where it is left out. */
  maxBytes?: number;
}

/** A regular file, open for reading; the receiver closes it. */
export interface FoundArtifact {
  /** Relative to the task's folder. */
  path: string;
  descriptor: number;
  size: number;
  /** Permission bits. */
  mode: number;
}

/**
 * Finds and opens the files that match. It runs as the task's user, in a process that may be killed,
 * so it reads only what the task could read. It follows no link: a file is taken only if it is a
 * regular one and no folder on the way to it is a link. A pipe, or a file with a lease (fcntl(2),
 * F_SETLEASE), does not block it.
 *
 * @param take is called for each file.
 * @param progress is called for each entry that is read.
 * @returns what was left out, and why.
 */
export function searchArtifacts(
  { folder, globs, maxFiles, maxBytes = Infinity }: ArtifactQuery,
  take: (file: FoundArtifact) => void,
  progress: () => void = () => {},
): string[] {
  const notes: string[] = [];
  const note = (line: string) => {
    if (notes.length < maxNotes) notes.push(line);
    else if (notes.length === maxNotes) notes.push("and more");
  };
  let root: string;
  try {
    root = Deno.realPathSync(folder);
  } catch {
    return ["The task removed its own folder: there are no artifacts"];
  }
  const seen = new Set<string>();
  let bytesLeft = maxBytes;
  const walk = { root, note, progress, entriesLeft: maxEntries };
  for (const raw of globs) {
    const glob = normalizeGlob(raw);
    if (leavesFolder(glob)) {
      note(`Artifact "${raw}" is outside of the task's folder`);
      continue;
    }
    const matches = globMatcher(glob);
    let matched = 0;
    for (const { path, kind } of entriesBelow(walk, fixedFolder(glob))) {
      const isNeeded = matches(path) || kind === "unnamed_folder" && matches.mayMatchBelow(path);
      if (!isNeeded) continue;
      matched++;
      if (seen.has(path)) continue;
      if (kind !== "file" && kind !== "folder") {
        note(leftOut(path, whyNot[kind]));
        continue;
      }
      if (seen.size >= maxFiles) {
        note(`More than ${maxFiles} artifacts: the rest was left out`);
        return notes;
      }
      seen.add(path);
      try {
        const file = openRegular(root, path, bytesLeft);
        bytesLeft -= file.size;
        take(file);
      } catch (error) {
        note(leftOut(path, messageOf(error)));
      }
    }
    if (matched === 0) note(`Artifact "${raw}" matched no file`);
  }
  return notes;
}

const whyNot = {
  link: "it is a link",
  other: "not a regular file",
  unnamed: "its name is not UTF-8",
  unnamed_folder: "the folder's name is not UTF-8",
} as const;

function leftOut(path: string, why: string): string {
  return `Artifact "${path}" was left out: ${why}`;
}

interface Walk {
  root: string;
  note: (line: string) => void;
  progress: () => void;
  entriesLeft: number;
}

interface Entry {
  /** Relative to the root. */
  path: string;
  /** `unnamed`: its name is not UTF-8, so no string of ours can open it. */
  kind: "file" | "folder" | keyof typeof whyNot;
}

/** Everything but folders at or below `start`, in the order of names. */
function* entriesBelow(walk: Walk, start: string): Generator<Entry> {
  const { root, note } = walk;
  try {
    const info = Deno.lstatSync(join(root, start));
    if (Deno.realPathSync(join(root, start)) !== join(root, start)) {
      return note(leftOut(start, "it is a link, or behind one"));
    }
    if (!info.isDirectory) return yield { path: start, kind: kindOf(info) };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) note(leftOut(start, messageOf(error)));
    return;
  }
  // Not by recursion: a task may nest folders as deep as it likes.
  const pending: Entry[] = [{ path: start, kind: "folder" }];
  for (let next; (next = pending.pop()) !== undefined;) {
    if (next.kind !== "folder") yield next;
    else for (const entry of entriesOf(walk, next.path).reverse()) pending.push(entry);
  }
}

function kindOf(
  { isFile, isDirectory, isSymlink }: Omit<Deno.DirEntry, "name">,
): Entry["kind"] {
  if (isFile) return "file";
  if (isDirectory) return "folder";
  return isSymlink ? "link" : "other";
}

/** The entries of one folder, sorted by name. */
function entriesOf(walk: Walk, folder: string): Entry[] {
  const { root, note, progress } = walk;
  const found: Entry[] = [];
  const below = (name: string) => folder === "" ? name : `${folder}/${name}`;
  const unnamed = namesNotUtf8(join(root, folder));
  for (const [name, isFolder] of unnamed) {
    found.push({ path: below(name), kind: isFolder ? "unnamed_folder" : "unnamed" });
  }
  try {
    for (const entry of Deno.readDirSync(join(root, folder))) {
      const { name } = entry;
      if (unnamed.has(name)) continue;
      progress();
      if (--walk.entriesLeft < 0) {
        if (walk.entriesLeft === -1) note(`More than ${maxEntries} files: the rest was left out`);
        break;
      }
      found.push({ path: below(name), kind: kindOf(entry) });
    }
  } catch (error) {
    note(leftOut(folder, messageOf(error)));
  }
  return found.sort((a, b) => a.path < b.path ? -1 : 1);
}

/**
 * Opens a file without waiting for the other end of a pipe or for the holder of a lease.
 *
 * @throws where it is not a regular file at exactly this path, or is larger than `maxBytes`.
 */
function openRegular(root: string, path: string, maxBytes: number): FoundArtifact {
  const source = join(root, path);
  const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = constants;
  if (!lstatSync(source).isFile()) throw new Error("not a regular file");
  const descriptor = openSync(source, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
  try {
    const info = fstatSync(descriptor);
    if (!info.isFile()) throw new Error("not a regular file");
    // A folder on the way may have been a link at the moment of opening.
    const opened = Deno.build.os === "linux"
      ? Deno.readLinkSync(`/proc/self/fd/${descriptor}`)
      : Deno.realPathSync(source);
    if (opened !== source) throw new Error("it is behind a link");
    if (info.size > maxBytes) {
      throw new Error(`the worker has no space for its ${formatBytes(info.size)}`);
    }
    return { path, descriptor, size: info.size, mode: info.mode & 0o777 };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}
