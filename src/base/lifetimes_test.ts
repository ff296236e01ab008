import assert from "node:assert/strict";
import { sharedPauseMs } from "./lifetimes.ts";

Deno.test("coarse timers of a thread end together, whenever they began", () => {
  for (const [ms, gridMs] of [[500, 500], [900, 500], [1_000, 1_000], [5_000, 1_000]] as const) {
    for (let now = 0; now < 2_000; now += 12.5) {
      const pauseMs = sharedPauseMs(ms, now);
      assert.equal((now + pauseMs) % gridMs, 0, `${ms} at ${now}`);
      assert.ok(Math.abs(pauseMs - ms) <= gridMs / 2, `${pauseMs} in place of ${ms}`);
    }
    assert.equal(sharedPauseMs(ms, 3_000.8) + 3_000.8, 3_000 + Math.round(ms / gridMs) * gridMs);
  }
  assert.equal(sharedPauseMs(100, 12.5), 100, "a short one stays as it is");
});
