import assert from "node:assert/strict";
import {
  newCredits,
  nextMeanMs,
  nextSession,
  type SessionLoad,
  tasksAhead,
} from "./flow_control.ts";

const idle: SessionLoad = {
  ...{ open: true, running: 0, queued: 0, credit: 0, unusedMs: 0, servedAt: 0 },
};

Deno.test("credits cover free slots, and what is to lie ready", () => {
  const cases: [string, { slots: number; ahead: number }, Partial<SessionLoad>[], number[]][] = [
    ["all slots at first", { slots: 4, ahead: 0 }, [{}], [4]],
    ["shared out", { slots: 4, ahead: 0 }, [{}, {}], [2, 2]],
    ["in turn", { slots: 3, ahead: 0 }, [{ servedAt: 2 }, { servedAt: 1 }], [1, 2]],
    ["none where it has them", { slots: 4, ahead: 0 }, [{ credit: 4 }], [0]],
    ["none without a session", { slots: 4, ahead: 0 }, [{ open: false }, {}], [0, 4]],
    ["what is free", { slots: 4, ahead: 0 }, [{ running: 3 }], [1]],
    ["nothing when full", { slots: 4, ahead: 0 }, [{ running: 4 }, { credit: 1 }], [0, 0]],
    ["no less than nothing", { slots: 4, ahead: 0 }, [{ running: 4, queued: 9 }], [0]],
    ["some ahead", { slots: 4, ahead: 6 }, [{ running: 4 }], [6]],
    ["not one by one", { slots: 4, ahead: 32 }, [{ running: 4, queued: 20 }], [0]],
    ["but before it runs dry", { slots: 4, ahead: 32 }, [{ running: 4, queued: 9 }], [23]],
    ["to the one with fewer", { slots: 4, ahead: 0 }, [{ running: 2 }, { running: 1 }], [0, 1]],
    ["what is promised counts", { slots: 4, ahead: 0 }, [
      { running: 2 },
      { running: 1, credit: 1, unusedMs: 5 },
    ], [0, 0]],
    ["who has no work stands aside", { slots: 4, ahead: 0 }, [
      { running: 2 },
      { credit: 1, unusedMs: 100 },
    ], [2, 1]],
    ["and so do all", { slots: 4, ahead: 0 }, [
      { credit: 2, unusedMs: 100 },
      { credit: 2, unusedMs: 500 },
    ], [2, 2]],
  ];
  for (const [name, state, loads, expected] of cases) {
    const sessions = loads.map((load) => ({ ...idle, ...load }));
    assert.deepEqual(newCredits({ ...state, sessions }), expected, name);
  }
});

Deno.test("coordinators with long queues share the slots evenly, also one that is slow to answer", () => {
  const tasks: [string, number, number][] = [
    ["as long as each other", 1_500, 0],
    ["of any length", 1_500, 1],
    ["short", 20, 1],
  ];
  for (const [name, taskMs, spread] of tasks) {
    for (const slots of [1, 3, 4]) {
      const { shares, unused } = simulate({ slots, taskMs, spread, answersMs: [3, 30] });
      const text = `${slots} slots, tasks ${name}: ${shares}`;
      assert.ok(shares.every((share) => Math.abs(share - 1 / 2) < 0.05), text);
      assert.ok(unused < 0.05, `${text}, ${unused} unused`);
    }
  }
});

Deno.test("a coordinator without work costs the others nothing", () => {
  const { shares, unused } = simulate({
    ...{ slots: 4, taskMs: 450, spread: 0.5, answersMs: [3, undefined] },
  });
  assert.deepEqual(shares, [1, 0]);
  assert.ok(unused < 0.02, `${unused} unused`);
});

/**
 * A worker by the policy, for some hundred tasks after it has settled.
 *
 * @param answersMs of each coordinator, from a credit to the task; undefined: it has none.
 * @param spread of the tasks' lengths, as a share of the mean.
 * @returns of the time of all slots that was used, whose it was; and what was not used.
 */
function simulate({ slots, taskMs, spread, answersMs }: {
  slots: number;
  taskMs: number;
  spread: number;
  answersMs: (number | undefined)[];
}): { shares: number[]; unused: number } {
  let [now, running, served, seed] = [0, 0, 0, 1];
  let meanMs: number | undefined;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const sessions = answersMs.map((answerMs) => ({ ...idle, answerMs, since: 0, usedMs: 0 }));
  const events: { at: number; happens: () => void }[] = [];
  const after = (ms: number, happens: () => void) => events.push({ at: now + ms, happens });
  const step = () => {
    for (let session; running < slots && (session = nextSession(sessions)) !== undefined;) {
      const { at, ms } = { at: now, ms: taskMs * (1 + spread * (random() - 0.5)) };
      [session.queued, session.running, session.servedAt] = [
        session.queued - 1,
        session.running + 1,
        ++served,
      ];
      running++;
      const mine = session;
      after(ms, () => {
        running--;
        mine.running--;
        meanMs = nextMeanMs(meanMs, now - at);
        step();
      });
    }
    for (const session of sessions) {
      session.unusedMs = session.credit === 0 ? 0 : now - session.since;
    }
    const ahead = meanMs === undefined ? 0 : tasksAhead(slots, meanMs);
    newCredits({ slots, ahead, sessions }).forEach((count, at) => {
      const session = sessions[at]!;
      if (count === 0) return;
      if (session.credit === 0) session.since = now;
      session.credit += count;
      if (session.answerMs === undefined) return;
      after(session.answerMs, () => {
        [session.credit, session.queued, session.since] = [
          session.credit - count,
          session.queued + count,
          now,
        ];
        step();
      });
    });
  };
  const tick = () => {
    step();
    after(100, tick);
  };
  tick();
  const [settledAt, endAt] = [10 * taskMs + 1_000, 110 * taskMs + 1_000];
  while (now < endAt) {
    const next = events.reduce((first, event) => event.at < first.at ? event : first);
    events.splice(events.indexOf(next), 1);
    const ms = Math.max(0, Math.min(next.at, endAt) - Math.max(now, settledAt));
    for (const session of sessions) session.usedMs += session.running * ms;
    now = next.at;
    next.happens();
  }
  const used = sessions.reduce((sum, { usedMs }) => sum + usedMs, 0);
  return {
    shares: sessions.map(({ usedMs }) => usedMs / used),
    unused: 1 - used / (slots * (endAt - settledAt)),
  };
}

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
  const session = (running: number, queued: number, servedAt: number) => ({
    running,
    queued,
    servedAt,
  });
  const [a, b, c] = [session(2, 1, 1), session(1, 1, 3), session(1, 1, 2)];
  assert.equal(nextSession([a, b, c]), c);
  assert.equal(nextSession([a, b]), b);
  assert.equal(nextSession([a, session(0, 0, 0)]), a);
  assert.equal(nextSession([session(0, 0, 0)]), undefined);
});
