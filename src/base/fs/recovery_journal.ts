/** The journal of a folder: the change that was decided on, for whoever has to finish it. */
import { join } from "node:path";
import { exists, reasonOf } from "./atomic_file.ts";
import { UserError } from "../errors.ts";
import { shellQuoted } from "../shell_quoted.ts";

export const journalName = ".journal";

/** Paths are relative to the folder, which may have been copied or moved since. */
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
 * @throws {UserError} where there is a journal that cannot be read, or that is not understood.
 */
export function readJournal(root: string): Journal | undefined {
  const path = join(root, journalName);
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new UserError(`Could not read the journal "${path}": ${reasonOf(error)}`, {
      code: "file_unreadable",
      next: `ls -ld ${shellQuoted(root)} ${shellQuoted(path)}`,
      cause: error,
    });
  }
  const journal = parsed(text);
  if (journal !== undefined) return journal;
  throw new UserError(`The journal "${path}" is not one that this version wrote`, {
    code: "unknown_journal",
    next: `Finish the change with the agent that began it, or forget it: rm ${shellQuoted(path)}`,
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
  return isObject(value) && typeof value.path === "string" && typeof value.removed === "boolean";
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
