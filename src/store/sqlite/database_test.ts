import assert from "node:assert/strict";
import { join } from "node:path";
import { openDatabase } from "./database.ts";

Deno.test("a commit is synced to the disk before it is one", async () => {
  const folder = await Deno.makeTempDir({ prefix: "agent-database-" });
  try {
    using db = openDatabase(join(folder, "tasks.db"));
    const pragma = (name: string) => Object.values(db.prepare(`PRAGMA ${name}`).get()!)[0];
    // 2 is FULL: with a write-ahead log, NORMAL would sync at checkpoints only.
    assert.deepEqual([pragma("journal_mode"), pragma("synchronous")], ["wal", 2]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
