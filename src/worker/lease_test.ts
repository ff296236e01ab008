import assert from "node:assert/strict";
import { leaseTimes } from "../tasks/limits.ts";
import { leaseName, validUntil } from "./lease.ts";

const { leaseMs, workerEndsMs, guardianMs, heartbeatMs, lateAfterMs, holdMs } = leaseTimes;

Deno.test("a worker gives up before its coordinator may give the attempts away", () => {
  // The kill takes its time, and no two clocks run at the same speed.
  const reserveMs = 4_000;
  const until = (sentAt: number, leaseMs: number) => validUntil({ sentAt, leaseMs }, undefined);
  assert.ok(until(0, leaseMs) <= leaseMs - reserveMs);
  assert.equal(until(500, leaseMs), 500 + workerEndsMs);
  assert.equal(until(500, leaseMs / 3), 500 + workerEndsMs / 3, "another coordinator's lease");
  // The coordinator said so when it had acknowledged a heartbeat that was sent at 500.
  const held = validUntil({ sentAt: 500, leaseMs, holdMs }, undefined);
  assert.ok(held <= 500 + holdMs - reserveMs);
  assert.ok(held > 500 + holdMs / 2);
});

Deno.test("a task's own lease is as long as it says, and leases of different lengths have different names", () => {
  const terms = { sentAt: 500, leaseMs: 300_000 };
  assert.equal(validUntil(terms, 30_000), 500 + 22_000);
  assert.equal(validUntil(terms, 600_000), 500 + 440_000);
  assert.ok(validUntil(terms, 0) > 500 + 50 * 365 * 86_400_000, "for ever");
  // A coordinator that stops keeps each for at least this long.
  assert.equal(validUntil({ ...terms, holdMs }, 30_000), 500 + holdMs - 4_000);
  assert.equal(validUntil({ ...terms, holdMs }, 3_000_000), 500 + 2_200_000);
  const names = [undefined, 0, 30_000].map((length) => leaseName("c1:4433", length));
  assert.equal(new Set(names).size, 3);
});

Deno.test("the deadlines of a lease come in the order that keeps two attempts apart", () => {
  assert.ok(heartbeatMs < lateAfterMs && lateAfterMs < workerEndsMs && workerEndsMs < leaseMs);
  // A worker that stops right after a heartbeat: the last beat to its guardian is a second later.
  assert.ok(heartbeatMs + guardianMs < workerEndsMs);
});
