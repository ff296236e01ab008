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

Deno.test("input and output get their turn beside work that never ends", async () => {
  const slices = new TimeSlices();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepted = listener.accept();
  const { port } = listener.addr as Deno.NetAddr;
  using near = await Deno.connect({ hostname: "127.0.0.1", port });
  using far = await accepted;
  void far.readable.pipeTo(far.writable).catch(() => {/* The end of the test. */});
  let answers = 0;
  let isOver = false;
  const ask = async () => {
    const answer = new Uint8Array(1);
    while (!isOver) {
      await near.write(answer);
      await near.read(answer);
      answers++;
    }
  };
  const asked = ask();
  for (let step = 0; step < 60; step++) {
    await slices.pace();
    const end = performance.now() + 10;
    while (performance.now() < end);
  }
  isOver = true;
  await asked;
  assert.ok(answers >= 10, `${answers} answers`);
});
