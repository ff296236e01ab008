import { join } from "node:path";
import { messageOf } from "../base/errors.ts";

/**
 * Removes everything in a folder, level by level: each folder in it is moved to the top, beside the
 * others, and emptied there. This keeps paths short and memory small even if a task nests its folders
 * very deep; Deno's recursive removal aborts the process at about 20,000 levels. Links are not
 * followed.
 *
 * @param progress called for each entry, so that a caller with a time limit sees the progress.
 * @returns why something could not be removed; undefined if everything was.
 */
export function emptyFolder(top: string, progress: () => void = () => {}): string | undefined {
  let problem: string | undefined;
  // Random, so that a task cannot have used these names.
  const prefix = `.agent-remove-${crypto.randomUUID()}-`;
  let moved = 0;
  const attempt = (action: () => void): boolean => {
    progress();
    try {
      action();
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return true;
      problem ??= messageOf(error);
      return false;
    }
  };
  const list = (folder: string): Deno.DirEntry[] => {
    let entries: Deno.DirEntry[] = [];
    attempt(() => entries = [...Deno.readDirSync(folder)]);
    return entries;
  };
  // A task may have removed its own permissions.
  const open = (folder: string) => attempt(() => Deno.chmodSync(folder, 0o700));
  const empty = (folder: string): string[] => {
    open(folder);
    const found: string[] = [];
    for (const entry of list(folder)) {
      const path = join(folder, entry.name);
      if (!entry.isDirectory) attempt(() => Deno.removeSync(path));
      else if (folder === top) found.push(entry.name);
      else {
        const name = prefix + ++moved;
        // Moving a folder changes its "..", for which it must be writable.
        open(path);
        if (attempt(() => Deno.renameSync(path, join(top, name)))) found.push(name);
      }
    }
    return found;
  };
  const pending = empty(top);
  for (let name; (name = pending.pop()) !== undefined;) {
    const folder = join(top, name);
    for (const below of empty(folder)) pending.push(below);
    attempt(() => removeEmptied(folder));
  }
  return problem;
}

/** Deno 2.7 does not list names that are not UTF-8; only its recursive removal finds them. */
function removeEmptied(folder: string): void {
  try {
    Deno.removeSync(folder);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    Deno.removeSync(folder, { recursive: true });
  }
}
