import assert from "node:assert/strict";
import { silentLog } from "../../tests/support/silent_log.ts";
import { systemClock } from "../base/clock.ts";
import { type CommitEntry, GroupCommit } from "./group_commit.ts";
import type { Change, TaskStore } from "./store.ts";

/** A group commit whose store keeps the sizes of batches, and which has just written one. */
function justWritten(prepare = () => false) {
  const batches: number[] = [];
  const commit = (changes: readonly Change[]) => {
    batches.push(changes.length);
    return changes.map(() => undefined);
  };
  const commits = new GroupCommit({
    store: { commit } as unknown as TaskStore,
    ...{ clock: systemClock, log: silentLog, everyMs: 100 },
    ...{ prepare, makeRoom: () => false, committed: () => {} },
  });
  const write = (more: Partial<CommitEntry> = {}) =>
    new Promise<void>((resolve) =>
      commits.add({ change: { kind: "probe" }, ...more, done: () => resolve() })
    );
  commits.add({ change: { kind: "probe" } });
  commits.flush();
  return { batches, write, [Symbol.dispose]: () => commits.close() };
}

Deno.test("a patient change waits longer than another, and is written with it", async () => {
  const order: string[] = [];
  using patient = justWritten();
  const first = patient.write({ patient: true }).then(() => order.push("patient"));
  // Its head start is shorter than the time that it waits longer.
  await systemClock.sleep(30);
  using other = justWritten();
  using both = justWritten();
  await Promise.all([
    first,
    other.write().then(() => order.push("other")),
    both.write({ patient: true }),
    both.write(),
  ]);
  assert.deepEqual(order, ["other", "patient"]);
  assert.deepEqual(both.batches, [1, 2]);
});

Deno.test("after a batch that was full, what waited for it gets its turn without being asked again", async () => {
  let asked = Promise.withResolvers<void>();
  using full = justWritten(() => {
    asked.resolve();
    return false;
  });
  asked = Promise.withResolvers();
  await Promise.all(Array.from({ length: 500 }, () => full.write()));
  await asked.promise;
  assert.deepEqual(full.batches, [1, 500]);
});
