import { setMode } from "../../base/fs/file_permissions.ts";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { UserError } from "../../base/errors.ts";
import { reasonOf } from "../../base/fs/reason.ts";
import { diskFull, isDiskFull } from "../files/file_io.ts";
import { migrate } from "./schema.ts";

/** Result codes of SQLite, from its sqlite3.h. */
const codes = { busy: 5, ioError: 10, corrupt: 11, full: 13, cannotOpen: 14, notADatabase: 26 };

/**
 * Opens the database at `path`, or creates it, and keeps every other process out until it is closed.
 *
 * Write-ahead log with a sync for each commit: committed data survives a power cut. Exclusive locking
 * also saves the shared memory file and a lock for each transaction.
 */
export function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    // SQLite would create it with mode 0644; the log beside it gets the same mode.
    Deno.openSync(path, { create: true, append: true, mode: 0o600 }).close();
    setMode(path, 0o600);
    db = new DatabaseSync(path);
    const pragma = (text: string) => db!.prepare(`PRAGMA ${text}`).all();
    // Before anything that reads: a first look without it needs the shared memory file, for which a
    // disk that was full when the last process was killed may have no room.
    pragma("locking_mode = EXCLUSIVE");
    // Space that is free again can be given back. In a database that exists it changes nothing, but is
    // written each time.
    if (Deno.statSync(path).size === 0) pragma("auto_vacuum = INCREMENTAL");
    pragma("journal_mode = WAL");
    pragma("synchronous = FULL");
    // 16 MiB instead of 2: random lookups by id in a database of millions.
    pragma("cache_size = -16384");
    // Truncate the log after a burst; SQLite would keep its largest size.
    pragma("journal_size_limit = 67108864");
    // Take the lock now, not at the first write. It lasts until the database is closed.
    db.exec("BEGIN IMMEDIATE; COMMIT");
    migrate(db, path);
    return db;
  } catch (error) {
    db?.close();
    throw explained(error, path);
  }
}

/** Prepares each statement once. */
export function statementsOf(db: DatabaseSync): (sql: string) => StatementSync {
  const prepared = new Map<string, StatementSync>();
  return (sql) => {
    let statement = prepared.get(sql);
    if (statement === undefined) prepared.set(sql, statement = db.prepare(sql));
    return statement;
  };
}

/** An error of SQLite as one that a person can act on; others as they are. */
export function explained(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || error instanceof UserError) return error;
  if (is(error, codes.full, "database or disk is full") || isDiskFull(error)) {
    return diskFull(path, error);
  }
  if (is(error, codes.busy, "database is locked")) {
    return new UserError(`"${path}" is in use by another coordinator`, {
      code: "in_use",
      next: "Stop that one, or name another folder with --coordinator.data-dir",
      cause: error,
    });
  }
  if (
    is(error, codes.corrupt, "database disk image is malformed") ||
    is(error, codes.notADatabase, "file is not a database")
  ) {
    return new UserError(`The database "${path}" is damaged: ${error.message}`, {
      code: "corrupt",
      next: `Move "${path}" aside and restore a copy, or start with a new folder`,
      cause: error,
    });
  }
  if (is(error, codes.ioError, "disk I/O error")) {
    return new UserError(`Reading or writing the database "${path}" failed: ${error.message}`, {
      code: "io",
      next: "Look at the system's log for errors of the disk",
      cause: error,
    });
  }
  // An error of the file system: ENOENT, EACCES, EROFS, as opposed to ERR_SQLITE_ERROR.
  if ("code" in error && /^E[A-Z0-9]+$/.test(String(error.code))) {
    return new UserError(`Cannot open the database "${path}": ${reasonOf(error)}`, {
      next: "The user that runs the coordinator needs read and write access to it and its folder",
      cause: error,
    });
  }
  return error;
}

/** Errors of prepared statements have the code; those of `exec` have only SQLite's text. */
function is(error: Error, code: number, text: string): boolean {
  const errcode = "errcode" in error ? Number(error.errcode) & 0xff : undefined;
  return errcode === code || error.message.includes(text);
}
