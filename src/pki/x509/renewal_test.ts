import assert from "node:assert/strict";
import { daysLeft, expiresSoon, renewalDue } from "./renewal.ts";

const dayMs = 86_400_000;

Deno.test("a certificate is due 30 days before its end, a short-lived one in its last third", () => {
  const cases: [lifetimeDays: number, ageDays: number, due: boolean][] = [
    [825, 0, false],
    [825, 794.9, false],
    [825, 795, false],
    [825, 795 + 1 / dayMs, true],
    [825, 795.1, true],
    [825, 825.1, true],
    [90, 59.9, false],
    [90, 60, false],
    [91, 61, false],
    [91, 61 + 1 / dayMs, true],
    [90, 60.1, true],
    [9, 0, false],
    [9, 5.9, false],
    [9, 6, false],
    [9, 6.1, true],
  ];
  for (const [lifetime, age, due] of cases) {
    const dates = { notBefore: new Date(0), notAfter: new Date(lifetime * dayMs) };
    assert.equal(renewalDue({ ...dates, now: age * dayMs }), due, `${lifetime} days, at ${age}`);
  }
});

Deno.test("days are whole ones, and 30 of them are no reason to warn", () => {
  const notAfter = new Date(100 * dayMs);
  assert.equal(daysLeft({ notAfter }, 70 * dayMs), 30);
  assert.equal(expiresSoon({ notAfter }, 70 * dayMs), false);
  assert.equal(daysLeft({ notAfter }, 70 * dayMs + 1), 29);
  assert.equal(expiresSoon({ notAfter }, 70 * dayMs + 1), true);
  assert.equal(daysLeft({ notAfter }, 100 * dayMs), 0);
  assert.equal(daysLeft({ notAfter }, 100 * dayMs + 1), -1);
});
