import type { SQLInputValue } from "node:sqlite";
import type { TaskState } from "../../tasks/task.ts";
import { type Row, stateNames } from "./rows.ts";

/** How the store reads its database. */
export interface Reads {
  get(sql: string, ...values: SQLInputValue[]): Row | undefined;
  all(sql: string, ...values: SQLInputValue[]): Row[];
}

export interface ListQuery {
  states: readonly TaskState[];
  limit: number;
  before?: string;
  submitter?: string;
}

/** Text of specs in one page of a list; a spec may have 1.7 MB, and a page 1,000 of them. */
const pageSpecLetters = 16 * 1024 * 1024;

/** The ids of one page, newest first, and whether older tasks follow. */
export function listTasks(
  reads: Reads,
  { states, limit, before, submitter }: ListQuery,
): { ids: string[]; more: boolean } {
  const from = before === undefined ? Number.MAX_SAFE_INTEGER : placeOf(reads, before);
  // A partial index is used only where its own condition stands in the query word for word.
  const byState = states.length === 0 ? ["true"] : states.map((name) => {
    const state = stateNames.indexOf(name);
    const index = state < 2 ? "state < 2" : state > 2 ? "state > 2" : "state = 2";
    return `state = ${state} AND ${index}`;
  });
  const conditions = submitter === undefined
    ? byState
    : callerIds(reads, submitter).flatMap((id) =>
      byState.map((state) => `submitter = ${id} AND submitter IS NOT NULL AND ${state}`)
    );
  const found = conditions.flatMap((condition) =>
    reads.all(
      `SELECT seq FROM tasks WHERE ${condition} AND seq < ? ORDER BY seq DESC LIMIT ?`,
      from,
      limit + 1,
    ).map((row) => row.seq as number)
  ).sort((a, b) => b - a);
  const ids: string[] = [];
  let letters = 0;
  for (const seq of found.slice(0, limit)) {
    const row = reads.get(`SELECT id, length(spec) AS letters FROM tasks WHERE seq = ?`, seq)!;
    letters += (row.letters as number | null) ?? 0;
    if (ids.length > 0 && letters > pageSpecLetters) break;
    ids.push(row.id as string);
  }
  return { ids, more: found.length > ids.length };
}

function callerIds(reads: Reads, nameOrFingerprint: string): number[] {
  const sql = `SELECT id FROM callers WHERE name = ?1 OR fingerprint = ?1`;
  return reads.all(sql, nameOrFingerprint).map((row) => row.id as number);
}

/** The first seq that is no longer older than this id; ids of other coordinators sort by time, too. */
function placeOf(reads: Reads, id: string): number {
  const own = reads.get(`SELECT seq FROM tasks WHERE id = ?`, id);
  if (own !== undefined) return own.seq as number;
  const older = reads.get(`SELECT id FROM tasks WHERE id < ? ORDER BY id DESC LIMIT 1`, id);
  if (older === undefined) return 0;
  // By its text it need not be the last element of its array.
  const base = (older.id as string).split(".")[0]!;
  const sql = `SELECT max(seq) + 1 AS place FROM tasks WHERE id = ? OR id > ? AND id < ?`;
  return reads.get(sql, base, `${base}.`, `${base}/`)!.place as number;
}
