import assert from "node:assert/strict";
import { type LinkLoad, newCredits, nextLink, nextMeanMs, tasksAhead } from "./credits.ts";

const idle: LinkLoad = { open: true, running: 0, queued: 0, credit: 0 };

Deno.test("credits cover free slots, and what is to lie ready", () => {
  const cases: [
    string,
    { slots: number; ahead: number; freeForMs?: number },
    LinkLoad[],
    number[],
  ][] = [
    ["all slots at first", { slots: 4, ahead: 0 }, [idle], [4]],
    ["each may be promised all", { slots: 4, ahead: 0 }, [idle, idle], [4, 4]],
    ["none where it has them", { slots: 4, ahead: 0 }, [{ ...idle, credit: 4 }], [0]],
    ["none without a session", { slots: 4, ahead: 0 }, [{ ...idle, open: false }], [0]],
    ["what is free", { slots: 4, ahead: 0 }, [{ ...idle, running: 3 }], [1]],
    ["nothing when full", { slots: 4, ahead: 0 }, [{ ...idle, running: 4 }], [0]],
    ["no less than nothing", { slots: 4, ahead: 0 }, [{ ...idle, running: 4, queued: 9 }], [0]],
    ["some ahead", { slots: 4, ahead: 6 }, [{ ...idle, running: 4 }], [6]],
    ["not one by one", { slots: 4, ahead: 32 }, [{ ...idle, running: 4, queued: 20 }], [0]],
    ["but before it runs dry", { slots: 4, ahead: 32 }, [{ ...idle, running: 4, queued: 9 }], [23]],
    ["the one with fewer first", { slots: 4, ahead: 0, freeForMs: 10 }, [
      { ...idle, running: 2 },
      { ...idle, running: 1 },
    ], [0, 1]],
    ["the others soon after", { slots: 4, ahead: 0, freeForMs: 60 }, [
      { ...idle, running: 2 },
      { ...idle, running: 1 },
    ], [1, 1]],
  ];
  for (const [name, state, links, expected] of cases) {
    assert.deepEqual(newCredits({ freeForMs: 1_000, ...state, links }), expected, name);
  }
});

Deno.test("the shorter the tasks, the more of them lie ready", () => {
  const cases: [number, number, number][] = [
    [8, 5, 32],
    [8, 100, 8],
    [8, 800, 1],
    [8, 801, 0],
    [1, 0, 32],
    [4, 3_600_000, 0],
  ];
  for (const [slots, meanMs, ahead] of cases) assert.equal(tasksAhead(slots, meanMs), ahead);
  assert.equal(nextMeanMs(undefined, 80), 80);
  assert.equal(nextMeanMs(80, 0), 70);
});

Deno.test("a free slot goes to the coordinator with the fewest running, in turn", () => {
  const link = (running: number, queued: number, servedAt: number) => ({
    running,
    queued,
    servedAt,
  });
  const [a, b, c] = [link(2, 1, 1), link(1, 1, 3), link(1, 1, 2)];
  assert.equal(nextLink([a, b, c]), c);
  assert.equal(nextLink([a, b]), b);
  assert.equal(nextLink([a, link(0, 0, 0)]), a);
  assert.equal(nextLink([link(0, 0, 0)]), undefined);
});
