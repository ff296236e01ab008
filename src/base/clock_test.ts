import assert from "node:assert/strict";
import { startTimer } from "./clock.ts";

Deno.test("a timer that is longer than one of the runtime runs for its whole time, once", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const start = performance.now();
  let calls = 0;
  using _timer = startTimer(
    () => {
      calls++;
      resolve();
    },
    95,
    10,
  );
  await promise;
  // Each part may be a little early.
  assert.ok(performance.now() - start > 80, `${performance.now() - start} ms`);
  assert.equal(calls, 1);
});

Deno.test("a timer of years waits, and ends no later than it is told to", async () => {
  let calls = 0;
  startTimer(() => calls++, 365 * 86_400_000)[Symbol.dispose]();
  const late = startTimer(() => calls++, 30, 10);
  late[Symbol.dispose]();
  using _years = startTimer(() => calls++, 100 * 365 * 86_400_000);
  await new Promise<void>((resolve) => startTimer(resolve, 60));
  assert.equal(calls, 0);
});
