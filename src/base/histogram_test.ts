import assert from "node:assert/strict";
import { Histogram } from "./histogram.ts";

Deno.test("a histogram counts values up to each bound, and all of them", () => {
  const histogram = new Histogram([1, 10]);
  for (const value of [0.5, 1, 2, 100]) histogram.observe(value);
  const buckets = [[1, 2], [10, 3]];
  assert.deepEqual(histogram.read(), { buckets, sum: 103.5, count: 4 });
});
