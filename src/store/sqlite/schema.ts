import type { DatabaseSync } from "node:sqlite";
import { UserError } from "../../base/errors.ts";

/**
 * Each entry brings a database from the version of its index to the next. Never change one that was
 * released; add another.
 *
 * States are numbers, in the order of `taskStates`: 0 queued, 1 running, 2 succeeded, above: ended
 * otherwise.
 */
const migrations: readonly string[] = [
  `
  CREATE TABLE tasks (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    state INTEGER NOT NULL,
    submitted_at INTEGER NOT NULL,
    finished_at INTEGER,
    array_id TEXT,
    array_index INTEGER,
    spec TEXT,
    selector TEXT,
    not_before INTEGER,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0
  );
  CREATE INDEX tasks_open ON tasks (state, seq) WHERE state < 2;
  CREATE INDEX tasks_unsuccessful ON tasks (state, seq) WHERE state > 2;
  CREATE TABLE arrays (
    id TEXT PRIMARY KEY,
    spec TEXT NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE attempts (
    seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    fence INTEGER NOT NULL,
    worker_id TEXT NOT NULL,
    holder INTEGER NOT NULL,
    state INTEGER NOT NULL,
    assigned_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    exit_code INTEGER,
    signal TEXT,
    reason TEXT,
    stdout_bytes INTEGER NOT NULL DEFAULT 0,
    stderr_bytes INTEGER NOT NULL DEFAULT 0,
    superseded INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (seq, attempt)
  ) WITHOUT ROWID;
  CREATE TABLE submissions (
    key TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    id TEXT NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE workers (
    id TEXT PRIMARY KEY,
    version TEXT NOT NULL,
    labels TEXT NOT NULL,
    slots INTEGER NOT NULL,
    draining INTEGER NOT NULL,
    connected_at INTEGER NOT NULL,
    address TEXT NOT NULL,
    identity TEXT,
    warnings TEXT NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE holders (
    id INTEGER PRIMARY KEY,
    worker_id TEXT NOT NULL,
    instance TEXT NOT NULL,
    home TEXT,
    hold_ms INTEGER NOT NULL
  );
  CREATE TABLE artifacts (
    seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    path TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    mode INTEGER NOT NULL,
    PRIMARY KEY (seq, attempt, path)
  ) WITHOUT ROWID;
  CREATE TABLE namespaces (
    name TEXT PRIMARY KEY,
    revision INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE state (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    revision INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, key)
  );
  CREATE TABLE numbers (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
  ) WITHOUT ROWID;
`,
  `
  CREATE INDEX tasks_succeeded ON tasks (state, seq) WHERE state = 2;
  ALTER TABLE workers ADD COLUMN owner TEXT;
`,
  `
  CREATE INDEX submissions_id ON submissions (id);
`,
  `
  CREATE TABLE callers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    fingerprint TEXT NOT NULL UNIQUE
  );
  ALTER TABLE tasks ADD COLUMN submitter INTEGER;
  CREATE INDEX tasks_submitter ON tasks (submitter, seq) WHERE submitter IS NOT NULL;
  ALTER TABLE workers ADD COLUMN fingerprint TEXT;
  ALTER TABLE state ADD COLUMN updated_by INTEGER;
`,
  `
  ALTER TABLE tasks ADD COLUMN resources TEXT;
  ALTER TABLE workers ADD COLUMN resources TEXT;
  ALTER TABLE attempts ADD COLUMN granted TEXT;
`,
  `
  INSERT INTO numbers SELECT 'bytes.output',
    (SELECT coalesce(sum(stdout_bytes + stderr_bytes), 0) FROM attempts) +
    (SELECT coalesce(sum(size), 0) FROM artifacts);
`,
  `
  ALTER TABLE tasks ADD COLUMN line TEXT;
`,
  `
  ALTER TABLE holders ADD COLUMN lease_ms INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE holders ADD COLUMN keeps_task_leases INTEGER NOT NULL DEFAULT 0;
`,
  `
  CREATE TABLE outputs (
    seq INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    stdout BLOB NOT NULL,
    stderr BLOB NOT NULL,
    PRIMARY KEY (seq, attempt)
  ) WITHOUT ROWID;
  ALTER TABLE artifacts ADD COLUMN data BLOB;
`,
];

/** "agnt", which tells this database from others, and from other files. */
const applicationId = 0x61676e74;

/** Brings the database up to this program's version, in one transaction for each step. */
export function migrate(db: DatabaseSync, path: string): void {
  const number = (pragma: string) =>
    Number(Object.values(db.prepare(`PRAGMA ${pragma}`).get() ?? { none: 0 })[0]);
  const version = number("user_version");
  const id = number("application_id");
  if (id !== applicationId && (id !== 0 || version !== 0)) {
    throw new UserError(`"${path}" is a database of another program`, {
      next: "Name another folder with --coordinator.data-dir",
    });
  }
  if (version > migrations.length) {
    throw new UserError(
      `"${path}" was written by a newer agent: its schema is ${version}, this one knows ${migrations.length}`,
      { next: "Start the newer agent, or name another folder with --coordinator.data-dir" },
    );
  }
  for (let step = version; step < migrations.length; step++) {
    db.exec(`BEGIN IMMEDIATE; ${migrations[step]};
      PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${step + 1}; COMMIT`);
  }
}
