import assert from "node:assert/strict";
import { baseId, elementId, idMaker, isTaskId } from "./ids.ts";

Deno.test("ids sort in the order in which they were made, whatever the clock does", () => {
  let now = 1_700_000_000_000;
  const next = idMaker({ now: () => now });
  const ids: string[] = [];
  for (let i = 0; i < 1_000; i++) {
    if (i % 10 === 0) now += i % 30 === 0 ? -500 : 7;
    ids.push(next());
  }
  assert.deepEqual(ids, ids.toSorted());
  assert.equal(new Set(ids).size, ids.length);
  assert.ok(ids.every(isTaskId));
});

Deno.test("ids go on after those of an earlier start whose clock was ahead", () => {
  const newest = idMaker({ now: () => 2_000_000_000_000 })();
  assert.ok(idMaker({ now: () => 1_000_000_000_000, newest })() > newest);
});

Deno.test("ids count over into the next millisecond when one is full", () => {
  const next = idMaker({ now: () => 1, newest: "000000001zzzzz" });
  assert.equal(next(), "00000000200000");
});

Deno.test("what is no id is told apart", () => {
  const id = idMaker({ now: Date.now })();
  assert.ok(isTaskId(elementId(id, 0)) && isTaskId(elementId(id, 12)));
  for (const bad of ["", "x", `${id}.`, `${id}.01`, `${id}.-1`, `../${id}`, id.toUpperCase()]) {
    assert.ok(!isTaskId(bad), bad);
  }
  assert.equal(baseId(elementId(id, 3)), id);
  assert.equal(baseId(id), id);
});
