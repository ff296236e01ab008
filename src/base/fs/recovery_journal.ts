/**
 * The journal of a folder: the change that was decided on, for the process that has to finish it.
 *
 * It orders renames and removals, so a planted one could destroy files. It is obeyed only if it is a
 * regular file of this user or of root, and names nothing outside of its folder.
 */
import { isAbsolute, join, normalize } from "node:path";
import { UserError } from "../errors.ts";
import { shellQuoted } from "../shell_quoted.ts";
import { exists } from "./atomic_file.ts";
import { isWithin } from "./paths.ts";
import { reasonOf } from "./reason.ts";

export const journalName = ".journal";

/** Paths are relative to the folder, which may have been copied or moved since, and lie below it. */
export type Journal = "removeAll" | { path: string; removed: boolean }[];

/** Whether a change of the folder was cut off after its commit, or is being made right now. */
export function isUnfinished(root: string): boolean {
  return exists(join(root, journalName));
}

export function journalText(journal: Journal): string {
  return JSON.stringify(
    journal === "removeAll" ? { version: 1, removeAll: true } : { version: 1, changes: journal },
  );
}

/**
 * @returns undefined where no change is unfinished.
 * @throws {UserError} `file_unreadable` for a journal that cannot be read, `unknown_journal` for one
 * that is not obeyed: of another user, or not as this version writes it.
 */
export function readJournal(root: string): Journal | undefined {
  const path = join(root, journalName);
  const owner = ownerOf(root, path);
  if (owner === undefined) return undefined;
  if (owner.isForeign) {
    throw new UserError(
      `The journal "${path}" was not written by this user (it belongs to ${owner.name})`,
      {
        code: "unknown_journal",
        next: `Run agent tls status as that user; or, if it should not be there: rm ${
          shellQuoted(path)
        }`,
      },
    );
  }
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw unreadable(root, path, error);
  }
  const journal = parsed(text);
  if (journal !== undefined) return journal;
  throw new UserError(`The journal "${path}" is not one that this version wrote`, {
    code: "unknown_journal",
    next: `Finish the change with the agent that began it, or drop it: rm ${shellQuoted(path)}`,
  });
}

/** The owner of the journal; undefined where there is none. A link counts as foreign. */
function ownerOf(root: string, path: string): { isForeign: boolean; name: string } | undefined {
  try {
    const { isFile, uid } = Deno.lstatSync(path);
    if (!isFile) return { isForeign: true, name: "nobody, as it is no regular file" };
    if (uid === null) return { isForeign: false, name: "this user" };
    return { isForeign: uid !== Deno.uid() && uid !== 0, name: `user ${uid}` };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw unreadable(root, path, error);
  }
}

function unreadable(root: string, path: string, cause: unknown): UserError {
  return new UserError(`Could not read the journal "${path}": ${reasonOf(cause)}`, {
    code: "file_unreadable",
    next: `ls -ld ${shellQuoted(root)} ${shellQuoted(path)}`,
    cause,
  });
}

function parsed(text: string): Journal | undefined {
  let journal: unknown;
  try {
    journal = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (!isObject(journal) || journal.version !== 1) return undefined;
  if (journal.removeAll === true) return "removeAll";
  return Array.isArray(journal.changes) && journal.changes.every(isChange)
    ? journal.changes
    : undefined;
}

function isChange(value: unknown): value is { path: string; removed: boolean } {
  return isObject(value) && typeof value.path === "string" && isBelow(value.path) &&
    typeof value.removed === "boolean";
}

function isBelow(path: string): boolean {
  return !isAbsolute(path) && !path.includes("\0") && normalize(path) === path &&
    path !== "." && isWithin("/folder", join("/folder", path));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
