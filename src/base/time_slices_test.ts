import assert from "node:assert/strict";
import { TimeSlices } from "./time_slices.ts";

Deno.test("a single change gets every other turn, however many streams there are", async () => {
  const slices = new TimeSlices();
  const steps = { now: 0, whenever: 0 };
  const work = async (urgency: "now" | "whenever") => {
    while (steps.now < 50) {
      await slices.pace(urgency);
      const end = performance.now() + 6;
      while (performance.now() < end);
      steps[urgency]++;
    }
  };
  await Promise.all([...Array.from({ length: 100 }, () => work("whenever")), work("now")]);
  // At the end each stream gets the turn that it waits for.
  assert.ok(steps.whenever < 160, `${steps.whenever} steps of streams`);
});

Deno.test("work in slices takes turns, and timers are not held up", async () => {
  const slices = new TimeSlices();
  let isOver = false;
  const steps = [0, 0, 0];
  const work = steps.map(async (_, index) => {
    while (!isOver) {
      await slices.pace();
      const end = performance.now() + 1;
      while (performance.now() < end);
      steps[index]!++;
    }
  });
  let ticks = 0;
  for (let n = 0; n < 20; n++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    ticks++;
  }
  isOver = true;
  await Promise.all(work);
  assert.equal(ticks, 20);
  assert.ok(Math.min(...steps) * 3 > Math.max(...steps), `${steps}`);
});
