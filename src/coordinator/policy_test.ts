import assert from "node:assert/strict";
import { leaseTimes } from "../tasks/limits.ts";
import { matches } from "../tasks/selectors.ts";
import {
  afterAttempt,
  type EndedAttempt,
  isExpired,
  pickSeat,
  type TaskAfter,
  waitReason,
  workerHealth,
} from "./policy.ts";

Deno.test("a worker's health follows its heartbeat and its stream", () => {
  const cases = [
    [true, 0, "healthy"],
    [true, 4_999, "healthy"],
    [true, 5_000, "late"],
    [true, 14_999, "late"],
    [true, 15_000, "lost"],
    [false, 0, "lost"],
  ] as const;
  for (const [connected, sinceMs, health] of cases) {
    assert.equal(workerHealth(connected, sinceMs), health, `${connected} ${sinceMs}`);
  }
});

Deno.test("a task is tried again as its retries and its losses allow", () => {
  const base: EndedAttempt = {
    state: "failed",
    reason: "exit code 1",
    failures: 0,
    losses: 0,
    maxLost: undefined,
    retries: 0,
    retryDelayMs: 0,
    cancelRequested: false,
  };
  const most = leaseTimes.maxRequeues;
  const cases: [string, Partial<EndedAttempt>, Partial<TaskAfter>][] = [
    ["success", { state: "succeeded" }, { state: "succeeded", failures: 0, losses: 0 }],
    ["no retries", {}, { state: "failed", failures: 1, reason: "exit code 1" }],
    ["first of two", { retries: 2 }, { state: "queued", failures: 1, notBefore: undefined }],
    ["last retry", { retries: 2, failures: 1 }, { state: "queued", failures: 2 }],
    ["used up", { retries: 2, failures: 2 }, { state: "failed", failures: 3 }],
    ["delay", { retries: 1, retryDelayMs: 50 }, { state: "queued", notBefore: 1_050 }],
    ["timed out", { state: "timed_out", retries: 1 }, { state: "queued", failures: 1 }],
    ["timed out for good", { state: "timed_out" }, { state: "timed_out" }],
    ["cancel wins over retry", { retries: 9, cancelRequested: true }, { state: "failed" }],
    ["cancelled", { state: "cancelled", retries: 9 }, { state: "cancelled", failures: 0 }],
    ["lost", { state: "lost" }, { state: "queued", losses: 1, failures: 0 }],
    ["lost has no delay", { state: "lost", retryDelayMs: 50 }, { notBefore: undefined }],
    ["lost often", { state: "lost", losses: most - 1 }, { state: "queued", losses: most }],
    ["lost twice", { state: "lost", losses: 1 }, { state: "queued", notBefore: 11_000 }],
    ["lost thrice", { state: "lost", losses: 2 }, { state: "queued", notBefore: 21_000 }],
    ["lost too often", { state: "lost", losses: most }, {
      state: "lost",
      losses: most + 1,
      reason: `Lost ${most + 1} times, last: exit code 1`,
    }],
    ["not queued again", { state: "lost", maxLost: 0 }, {
      state: "lost",
      losses: 1,
      reason: "Lost: exit code 1",
    }],
    ["queued again often", { state: "lost", losses: most, maxLost: 9 }, { state: "queued" }],
    ["lost while cancelled", { state: "lost", cancelRequested: true }, { state: "cancelled" }],
  ];
  for (const [name, outcome, expected] of cases) {
    const after = afterAttempt({ ...base, ...outcome }, 1_000);
    for (const [field, value] of Object.entries(expected)) {
      assert.equal(after[field as keyof TaskAfter], value, `${name}: ${field}`);
    }
  }
});

Deno.test("finished tasks go by age, and sooner the less room there is", () => {
  const [hour, day] = [3_600_000, 86_400_000];
  const cases = [
    [29 * day, "enough", false],
    [31 * day, "enough", true],
    [day - 1, "low", false],
    [day + 1, "low", true],
    [hour - 1, "none", false],
    [hour + 1, "none", true],
  ] as const;
  for (const [ageMs, level, expected] of cases) {
    assert.equal(isExpired({ ageMs, keepMs: 30 * day, level }), expected, `${ageMs} ${level}`);
  }
  assert.equal(isExpired({ ageMs: 61_000, keepMs: 60_000, level: "none" }), true);
});

Deno.test("a selector needs each of its labels, and no inherited name counts", () => {
  assert.ok(matches({}, {}));
  assert.ok(matches({ gpu: "no" }, { gpu: "no", zone: "a" }));
  assert.ok(!matches({ gpu: "yes" }, { gpu: "no" }));
  assert.ok(!matches({ gpu: "" }, {}));
  assert.ok(!matches({ toString: "x" }, {}));
});

Deno.test("the least busy worker for its size gets the next task", () => {
  const seat = (workerId: string, slots: number, held: number, credits: number) => ({
    workerId,
    slots,
    held,
    credits,
    labels: {},
  });
  assert.equal(pickSeat([]), undefined);
  assert.equal(pickSeat([seat("full", 4, 4, 0)]), undefined);
  assert.equal(pickSeat([seat("a", 2, 1, 9), seat("b", 8, 2, 9)])?.workerId, "b");
  assert.equal(pickSeat([seat("a", 2, 0, 9), seat("b", 8, 0, 9)])?.workerId, "a");
});

Deno.test("a task that waits says what for", () => {
  const labels = { zone: "a" };
  const worker = { id: "w1", labels, draining: false, trouble: undefined } as const;
  const healthy = { ...worker, health: "healthy" } as const;
  const plain = { selector: {}, notBefore: undefined };
  const cases = [
    [{ ...plain, workers: [] }, /^No worker is connected$/],
    [{ ...plain, notBefore: 2_000, workers: [healthy] }, /retry at 1970-01-01T00:00:02/],
    [{ ...plain, notBefore: 500, workers: [healthy] }, /free slot/],
    [{ ...plain, selector: { gpu: "yes" }, workers: [healthy] }, /has the label gpu=yes$/],
    [{ ...plain, selector: { zone: "a", gpu: "yes" }, workers: [healthy] }, /all of the labels/],
    [{ ...plain, workers: [{ ...healthy, draining: true }] }, /drained/],
    [{ ...plain, workers: [{ ...worker, health: "late" as const }] }, /late/],
    [{ ...plain, workers: [{ ...healthy, trouble: "no inode left" }] }, /now; w1: no inode left$/],
    [{ ...plain, workers: [{ ...healthy, trouble: "no inode left" }, healthy] }, /free slot/],
    [{ ...plain, workers: [healthy] }, /free slot/],
  ] as const;
  for (const [waiting, expected] of cases) {
    assert.match(waitReason({ ...waiting, workers: [...waiting.workers] }, 1_000), expected);
  }
});
