import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import type {
  Change,
  ChangeResult,
  Recovered,
  StoredLease,
  TaskRow,
  TaskStore,
} from "../../coordinator/store.ts";
import type { QueuedTask } from "../../coordinator/task_queue.ts";
import { baseId } from "../../tasks/ids.ts";
import { specOfLine } from "../../tasks/lines.ts";
import { TaskError } from "../../tasks/service.ts";
import type {
  Artifact,
  Identity,
  InlineOutput,
  StateEntry,
  Task,
  TaskSpec,
  TaskState,
} from "../../tasks/task.ts";
import { UserError } from "../../base/errors.ts";
import { explained, openDatabase, statementsOf } from "./database.ts";
import {
  artifactOf,
  attemptOf,
  entryOf,
  holderOf,
  leaseOf,
  queuedOf,
  type Row,
  specOf,
  stateNames,
  taskOf,
  taskRowOf,
  workerOf,
} from "./rows.ts";
import { type ListQuery, listTasks, type Reads } from "./list.ts";
import { createWriter, type Writer } from "./writes.ts";

/** Without its bytes. */
const artifactColumns = "a.attempt, a.path, a.size, a.sha256, a.mode";

/** Without the spec of an array's element, which is its array's: a large one is read and kept once. */
const taskColumns = `t.seq, t.id, t.state, t.submitted_at, t.finished_at, t.array_id,
  t.array_index, t.not_before, t.cancel_requested, t.reason, t.spec, t.submitter, t.line`;

/**
 * Free pages of 4 KiB that stay in the file, for what is stored next, and how many are given back in
 * one step, which takes some 10 ms.
 */
const freePages = { least: 256, share: 1 / 20, step: 256 };

/** Tasks in one SQLite database. */
export function openSqliteStore(path: string): TaskStore {
  const db = openDatabase(path);
  try {
    return new SqliteStore(db, path);
  } catch (error) {
    db.close();
    throw error;
  }
}

interface KnownArray {
  id: string;
  spec: TaskSpec;
  /** Whether its elements have a line each, which is part of their specs; undefined: not known yet. */
  hasLines?: boolean;
}

class SqliteStore implements TaskStore {
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #prepare: ReturnType<typeof statementsOf>;
  readonly #write: Writer;
  readonly #read: Reads;
  readonly #counts: number[];
  #outputBytes: number;
  /** To `#outputBytes`, by the open transaction. */
  #addedBytes = 0;
  /** Of `#counts`, by the open transaction. */
  #moves: number[] = stateNames.map(() => 0);
  /** The last one that the open transaction assigns. */
  #fence: number | undefined;
  readonly #callers = new Map<number, Identity>();
  /** Elements of an array are mostly read one after the other. */
  #lastArray: KnownArray | undefined;

  constructor(db: DatabaseSync, path: string) {
    this.#db = db;
    this.#path = path;
    this.#prepare = statementsOf(db);
    this.#write = createWriter(db, {
      moved: (from, to, count) => {
        if (from >= 0) this.#moves[from]! -= count;
        if (to >= 0) this.#moves[to]! += count;
      },
      stored: (bytes) => this.#addedBytes += bytes,
      fenced: (fence) => this.#fence = fence,
    });
    this.#read = {
      get: (sql, ...values) => this.#get(sql, ...values),
      all: (sql, ...values) => this.#all(sql, ...values),
    };
    this.#outputBytes = this.#number("bytes.output");
    this.#counts = stateNames.map((state) => this.#number(`tasks.${state}`));
  }

  commit(changes: readonly Change[]): ChangeResult[] {
    try {
      this.#run(`BEGIN IMMEDIATE`);
      const outcomes = withoutCovered(changes).map((change) => change && this.#write(change));
      const counts = this.#counts.map((count, state) => count + this.#moves[state]!);
      counts.forEach((count, state) => {
        if (this.#moves[state] === 0) return;
        this.#run(
          `INSERT OR REPLACE INTO numbers VALUES (?, ?)`,
          `tasks.${stateNames[state]}`,
          count,
        );
      });
      const outputBytes = this.#outputBytes + this.#addedBytes;
      if (this.#addedBytes !== 0) {
        this.#run(`INSERT OR REPLACE INTO numbers VALUES ('bytes.output', ?)`, outputBytes);
      }
      if (this.#fence !== undefined) {
        this.#run(`INSERT OR REPLACE INTO numbers VALUES ('fence', ?)`, this.#fence);
      }
      this.#run(`COMMIT`);
      this.#outputBytes = outputBytes;
      counts.forEach((count, state) => this.#counts[state] = count);
      return outcomes;
    } catch (error) {
      // After some errors SQLite has already rolled back, and this fails.
      if (this.#db.isOpen && this.#db.isTransaction) this.#run(`ROLLBACK`);
      throw this.#meaning(error);
    } finally {
      this.#moves.fill(0);
      this.#addedBytes = 0;
      this.#fence = undefined;
    }
  }

  recover(): Recovered {
    const needed = `SELECT a.holder FROM tasks t JOIN attempts a ON a.seq = t.seq AND
      a.attempt = t.attempts WHERE t.state = 1 AND t.state < 2`;
    try {
      this.#run(`DELETE FROM holders WHERE id NOT IN (${needed})`);
    } catch (error) {
      // Nothing has to be written to start: the next start has room for it.
      if (!(error instanceof UserError) || error.code !== "disk_full") throw error;
    }
    return {
      queued: this.#queued(),
      running: Array.from(this.#running()),
      holders: this.#all(`SELECT * FROM holders WHERE id IN (${needed}) ORDER BY id`).map(holderOf),
      workers: this.#all(`SELECT * FROM workers ORDER BY id`).map(workerOf),
      nextSeq: Number(this.#get(`SELECT coalesce(max(seq), 0) + 1 AS n FROM tasks`)!.n),
      nextFence: this.#number("fence") + 1,
      newestId: this.#get(`SELECT id FROM tasks ORDER BY seq DESC LIMIT 1`)?.id as
        | string
        | undefined,
    };
  }

  /** One at a time: their specs are large together. */
  *#running(): Iterable<StoredLease> {
    const rows = this.#db.prepare(
      `SELECT t.seq, t.id, t.cancel_requested, t.failures, t.losses, a.attempt, a.fence, a.holder,
         a.started_at, a.granted, coalesce(t.spec, (SELECT r.spec FROM arrays r WHERE r.id = t.array_id)) AS spec
       FROM tasks t JOIN attempts a ON a.seq = t.seq AND a.attempt = t.attempts
       WHERE t.state = 1 AND t.state < 2 ORDER BY t.seq`,
    );
    for (const row of rows.iterate()) yield leaseOf(row as Row);
  }

  /** One at a time: their number has no bound. */
  *#queued(): Iterable<QueuedTask> {
    const rows = this.#db.prepare(
      `SELECT seq, id, array_id, selector, resources, not_before, failures, losses, attempts FROM tasks
       WHERE state = 0 AND state < 2 ORDER BY seq`,
    );
    for (const row of rows.iterate()) yield queuedOf(row as Row, this.#arraySpec(row as Row));
  }

  task(id: string): Task | undefined {
    const row = this.#get(`SELECT ${taskColumns} FROM tasks t WHERE t.id = ?`, id);
    if (row === undefined) return undefined;
    const sql = `SELECT * FROM attempts WHERE seq = ? ORDER BY attempt`;
    const attempts = this.#all(sql, row.seq as number).map(attemptOf);
    return taskOf(row, this.#specOf(row), attempts, this.#caller(row.submitter));
  }

  elements(arrayId: string): Uint32Array {
    if (arrayId.includes(".")) return new Uint32Array();
    // One text in place of 10,000 rows takes a third of the time. "/" is the character after ".".
    const sql = `SELECT group_concat(substr(id, ?)) AS list FROM tasks WHERE id > ? AND id < ?`;
    const list = this.#get(sql, arrayId.length + 2, `${arrayId}.`, `${arrayId}/`)?.list;
    return typeof list === "string"
      ? Uint32Array.from(list.split(","), Number).sort()
      : new Uint32Array();
  }

  spec(id: string): TaskSpec | undefined {
    const array = this.#lastArray;
    if (array?.hasLines === false && baseId(id) === array.id) return array.spec;
    const row = this.#get(`SELECT spec, array_id, line FROM tasks WHERE id = ?`, id);
    return row && this.#specOf(row);
  }

  seq(id: string): number {
    return Number(this.#get(`SELECT seq FROM tasks WHERE id = ?`, id)!.seq);
  }

  progress(id: string) {
    const task = this.#get(`SELECT seq, state FROM tasks WHERE id = ?`, id);
    if (task === undefined) return undefined;
    const sql = `SELECT attempt, state, stdout_bytes, stderr_bytes FROM attempts
      WHERE seq = ? ORDER BY attempt`;
    return {
      state: stateNames[task.state as number]!,
      attempts: this.#all(sql, task.seq as number).map((row) => ({
        attempt: row.attempt as number,
        state: stateNames[row.state as number]!,
        stdoutBytes: row.stdout_bytes as number,
        stderrBytes: row.stderr_bytes as number,
      })),
    };
  }

  output(id: string, attempt: number): InlineOutput | undefined {
    const sql = `SELECT o.stdout, o.stderr FROM outputs o
      WHERE o.seq = (SELECT t.seq FROM tasks t WHERE t.id = ?) AND o.attempt = ?`;
    return this.#get(sql, id, attempt) as InlineOutput | undefined;
  }

  list(query: ListQuery): { ids: string[]; more: boolean } {
    return listTasks(this.#read, query);
  }

  unfinished(seq: number, limit: number): { seq: number; id: string }[] {
    // By the index, which sorts by state first.
    const found = [0, 1].flatMap((state) =>
      this.#all(
        `SELECT seq, id FROM tasks WHERE state = ${state} AND state < 2 AND seq > ?
         ORDER BY seq LIMIT ?`,
        seq,
        limit,
      ) as { seq: number; id: string }[]
    );
    return found.sort((a, b) => a.seq - b.seq).slice(0, limit);
  }

  submission(key: string): { hash: string; id: string } | undefined {
    return this.#get(`SELECT hash, id FROM submissions WHERE key = ?`, key) as
      | { hash: string; id: string }
      | undefined;
  }

  counts(): Record<TaskState, number> {
    return Object.fromEntries(
      stateNames.map((name, state) => [name, this.#counts[state]!]),
    ) as Record<TaskState, number>;
  }

  page(seq: number, limit: number): TaskRow[] {
    return this.#all(
      `SELECT seq, id, state, submitted_at, finished_at, attempts FROM tasks WHERE seq > ?
       ORDER BY seq LIMIT ?`,
      seq,
      limit,
    ).map(taskRowOf);
  }

  arrayEnd(arrayId: string): number | undefined {
    const sql = `SELECT min(state) AS least, max(finished_at) AS ended FROM tasks
      WHERE id > ? AND id < ?`;
    const { least, ended } = this.#get(sql, `${arrayId}.`, `${arrayId}/`)!;
    return least === null || (least as number) < 2 ? undefined : ended as number;
  }

  outputBytes(seq: number): number {
    const sql = `SELECT
      (SELECT coalesce(sum(stdout_bytes + stderr_bytes), 0) FROM attempts WHERE seq = ?1) +
      (SELECT coalesce(sum(size), 0) FROM artifacts WHERE seq = ?1) AS bytes`;
    return Number(this.#get(sql, seq)!.bytes);
  }

  storedBytes(): { output: number; database: number } {
    const database = this.#pragma("page_count") * this.#pragma("page_size");
    return { output: this.#outputBytes, database };
  }

  #pragma(name: string): number {
    return Number(Object.values(this.#get(`PRAGMA ${name}`) ?? { none: 0 })[0]);
  }

  shrink(): boolean {
    const number = (name: string) => this.#pragma(name);
    const spare = () => {
      const kept = Math.max(freePages.least, number("page_count") * freePages.share);
      return number("freelist_count") - kept;
    };
    // Databases of earlier versions keep their size: the pragma then does nothing.
    if (spare() <= 0 || number("auto_vacuum") === 0) return false;
    this.#all(`PRAGMA incremental_vacuum(${freePages.step})`);
    return spare() > 0;
  }

  releaseMemory(): void {
    this.#run(`PRAGMA shrink_memory`);
  }

  artifacts(taskId: string, attempt: number, path: string, limit: number): Artifact[] {
    return this.#all(
      `SELECT ${artifactColumns} FROM artifacts a JOIN tasks t ON t.seq = a.seq
       WHERE t.id = ? AND a.attempt = ? AND a.path > ? ORDER BY a.path LIMIT ?`,
      taskId,
      attempt,
      path,
      limit,
    ).map(artifactOf);
  }

  artifact(taskId: string, attempt: number, path: string): Artifact | undefined {
    const row = this.#get(
      `SELECT ${artifactColumns} FROM artifacts a JOIN tasks t ON t.seq = a.seq
       WHERE t.id = ? AND a.attempt = ? AND a.path = ?`,
      taskId,
      attempt,
      path,
    );
    return row && artifactOf(row);
  }

  artifactData(taskId: string, attempt: number, path: string): Uint8Array | undefined {
    const sql = `SELECT a.data FROM artifacts a JOIN tasks t ON t.seq = a.seq
      WHERE t.id = ? AND a.attempt = ? AND a.path = ?`;
    return (this.#get(sql, taskId, attempt, path)?.data ?? undefined) as Uint8Array | undefined;
  }

  artifactCount(taskId: string, attempt: number): number {
    const row = this.#get(
      `SELECT count(*) AS n FROM artifacts a JOIN tasks t ON t.seq = a.seq
       WHERE t.id = ? AND a.attempt = ?`,
      taskId,
      attempt,
    );
    return Number(row!.n);
  }

  state(namespace: string, key: string): StateEntry | undefined {
    const row = this.#get(`SELECT * FROM state WHERE namespace = ? AND key = ?`, namespace, key);
    return row && entryOf(row, this.#caller(row.updated_by));
  }

  stateAfter(namespace: string, prefix: string, key: string): StateEntry | undefined {
    const sql = `SELECT * FROM state WHERE namespace = ? AND key > ? AND key >= ?
      ORDER BY key LIMIT 1`;
    const row = this.#get(sql, namespace, key, prefix);
    return row !== undefined && (row.key as string).startsWith(prefix)
      ? entryOf(row, this.#caller(row.updated_by))
      : undefined;
  }

  [Symbol.dispose](): void {
    if (this.#db.isOpen) this.#db.close();
  }

  /** What the elements of an array share; undefined for a single task. */
  #arraySpec({ array_id, selector }: Row): TaskSpec | undefined {
    if (array_id === null || selector !== null) return undefined;
    return this.#arrayOf(array_id as string).spec;
  }

  /** A task's own, or its array's. */
  #specOf(row: Row): TaskSpec {
    if (row.spec !== null) return specOf(row.spec as string);
    const array = this.#arrayOf(row.array_id as string);
    array.hasLines = row.line !== null;
    return array.hasLines ? specOfLine(array.spec, row.line as string) : array.spec;
  }

  #arrayOf(id: string): KnownArray {
    if (this.#lastArray?.id !== id) {
      const { spec } = this.#get(`SELECT spec FROM arrays WHERE id = ?`, id)!;
      this.#lastArray = { id, spec: specOf(spec as string) };
    }
    return this.#lastArray!;
  }

  #caller(id: unknown): Identity | undefined {
    if (typeof id !== "number") return undefined;
    let caller = this.#callers.get(id);
    if (caller === undefined) {
      const row = this.#get(`SELECT name, fingerprint FROM callers WHERE id = ?`, id)!;
      caller = { name: row.name as string, fingerprint: row.fingerprint as string };
      this.#callers.set(id, caller);
    }
    return caller;
  }

  #number(name: string): number {
    return Number(this.#get(`SELECT value FROM numbers WHERE name = ?`, name)?.value ?? 0);
  }

  #run(sql: string, ...values: SQLInputValue[]): void {
    this.#explained(() => this.#prepare(sql).run(...values));
  }

  #get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#explained(() => this.#prepare(sql).get(...values) as Row | undefined);
  }

  #all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#explained(() => this.#prepare(sql).all(...values) as Row[]);
  }

  #explained<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw this.#meaning(error);
    }
  }

  /** A call that was under way when the coordinator stopped may come back to a store that is closed. */
  #meaning(error: unknown): unknown {
    if (this.#db.isOpen) return explained(error, this.#path);
    return new TaskError("unavailable", "The coordinator is stopping", undefined, { cause: error });
  }
}

/** The start of a short attempt is part of its end, which is often in the same batch. */
function withoutCovered(changes: readonly Change[]): (Change | undefined)[] {
  const ended = new Map<number, number>();
  for (const change of changes) {
    if (change.kind !== "end" || change.result.startedAt === undefined) continue;
    ended.set(change.seq, change.result.ref.attempt);
  }
  return changes.map((change) =>
    change.kind === "start" && ended.get(change.seq) === change.ref.attempt ? undefined : change
  );
}
