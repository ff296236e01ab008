import assert from "node:assert/strict";
import { measureEventLoopLag } from "./event_loop_lag.ts";

Deno.test("work that holds the event loop shows as lag, also before the next tick", async () => {
  using lag = measureEventLoopLag();
  const end = performance.now() + 200;
  while (performance.now() < end);
  assert.ok(lag.longestSeconds() >= 0.1, `${lag.longestSeconds()}`);
  await new Promise((resolve) => setTimeout(resolve, 1));
  assert.ok(lag.longestSeconds() >= 0.1, `${lag.longestSeconds()}`);
});
