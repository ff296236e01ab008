import assert from "node:assert/strict";
import { IdleLooks } from "./idle_memory.ts";

Deno.test("memory is released once after work, when nothing is done any more", () => {
  const looks = new IdleLooks(0);
  // The collections take 150 ms each.
  const used = [1_000, 5_000, 5_010, 5_160, 5_310, 5_320, 5_330, 5_340];
  assert.deepEqual(used.map((ms) => looks.next(ms)), [
    ...["nothing", "nothing", "collect", "collect", "release"],
    ...["nothing", "nothing", "nothing"],
  ]);
});

Deno.test("a process that works again is left alone", () => {
  const looks = new IdleLooks(0);
  const used = [5_000, 5_010, 8_000, 11_000, 11_010, 11_020, 11_030];
  assert.deepEqual(used.map((ms) => looks.next(ms)), [
    ...["nothing", "collect", "nothing", "nothing"],
    ...["collect", "collect", "release"],
  ]);
});

Deno.test("after its start a process that does little releases its memory once", () => {
  const looks = new IdleLooks(0);
  const found = Array.from({ length: 100 }, (_, at) => looks.next(400 + 15 * at));
  assert.deepEqual(
    found.map((what, at) => ({ what, at })).filter(({ what }) => what !== "nothing"),
    [
      { what: "collect", at: 1 },
      { what: "collect", at: 2 },
      { what: "release", at: 3 },
    ],
  );
});

Deno.test("what little work left is released later, and heartbeats alone never are worth it", () => {
  const looks = new IdleLooks(0);
  const used = [5_000, ...Array<number>(20).fill(5_010), 5_500, ...Array<number>(20).fill(5_510)];
  const found = [...used, ...Array.from({ length: 120 }, (_, at) => 5_510 + 15 * at)]
    .map((ms, at) => ({ what: looks.next(ms), at }))
    .filter(({ what }) => what === "release");
  // The second one a minute after the work of half a second.
  assert.deepEqual(found.map(({ at }) => at), [3, 36]);
});
