import { join } from "node:path";
import { messageOf } from "../base/errors.ts";

/**
 * Removes all that is in a folder, by level: each folder in it is moved up, next to the others, and
 * emptied there. So paths stay short and memory small however deep a task has nested its folders;
 * the recursive removal of Deno aborts the process at some 20,000 levels. No link is followed.
 *
 * @param progress called for each entry; a caller with a time limit learns that it goes on.
 * @returns why something is left, if something is.
 */
export function emptyFolder(top: string, progress: () => void = () => {}): string | undefined {
  let problem: string | undefined;
  // Random, so that no task has taken these names.
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
  // A task may have taken its own permissions away.
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

/** Deno 2.7 lists no name that is not UTF-8; what it cannot name, only its own removal finds. */
function removeEmptied(folder: string): void {
  try {
    Deno.removeSync(folder);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    Deno.removeSync(folder, { recursive: true });
  }
}
