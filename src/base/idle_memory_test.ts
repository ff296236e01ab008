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

Deno.test("a process that has done little is left alone", () => {
  const looks = new IdleLooks(0);
  for (let ms = 15; ms < 1_900; ms += 15) assert.equal(looks.next(ms), "nothing");
});
