import { setMode } from "../../base/fs/file_permissions.ts";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { UserError } from "../../base/errors.ts";
import { diskFull, isDiskFull } from "../files/file_io.ts";
import { migrate } from "./schema.ts";

/** Result codes of SQLite, from its sqlite3.h. */
const codes = { busy: 5, ioError: 10, corrupt: 11, full: 13, cannotOpen: 14, notADatabase: 26 };

/**
 * Opens the database at `path`, makes it where there is none, and keeps every other process out of it
 * until it is closed.
 *
 * Write-ahead log with a sync for each commit: what was committed outlives a power cut. Exclusive
 * locking also spares the shared memory file and a lock for each transaction.
 */
export function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    // SQLite would make it with 0644; the log beside it takes its mode from it.
    Deno.openSync(path, { create: true, append: true, mode: 0o600 }).close();
    setMode(path, 0o600);
    db = new DatabaseSync(path);
    const pragma = (text: string) => db!.prepare(`PRAGMA ${text}`).all();
    // Takes effect in a new database only: space that is free again can be given back.
    pragma("auto_vacuum = INCREMENTAL");
    pragma("locking_mode = EXCLUSIVE");
    pragma("journal_mode = WAL");
    pragma("synchronous = FULL");
    // 16 MiB instead of 2: random lookups by id in a database of millions.
    pragma("cache_size = -16384");
    // The log is cut back after a burst; SQLite would keep it as large as it ever was.
    pragma("journal_size_limit = 67108864");
    // A lock that lasts, taken now rather than at the first write.
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
  if (error instanceof Deno.errors.PermissionDenied) {
    return new UserError(`Cannot open the database "${path}": permission denied`, {
      next: "Give the user that runs this command the right to read and write it",
      cause: error,
    });
  }
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
  return error;
}

/** Statements carry the code; what is executed without one has only the text that SQLite defines. */
function is(error: Error, code: number, text: string): boolean {
  const errcode = "errcode" in error ? Number(error.errcode) & 0xff : undefined;
  return errcode === code || error.message.includes(text);
}
