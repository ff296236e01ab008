import assert from "node:assert/strict";
import { leaseTimes } from "../tasks/limits.ts";
import { heldUntil, leaseUntil } from "./lease.ts";

const { leaseMs, workerEndsMs, guardianMs, heartbeatMs, lateAfterMs, holdMs } = leaseTimes;

Deno.test("a worker gives up before its coordinator may give the attempts away", () => {
  // The kill takes its time, and no two clocks run at the same speed.
  const reserveMs = 4_000;
  assert.ok(leaseUntil(0, leaseMs) <= leaseMs - reserveMs);
  assert.equal(leaseUntil(500, leaseMs), 500 + workerEndsMs);
  assert.equal(leaseUntil(500, leaseMs / 3), 500 + workerEndsMs / 3, "another coordinator's lease");
  // The coordinator said so when it had acknowledged a heartbeat that was sent at 500.
  assert.ok(heldUntil(500, holdMs) <= 500 + holdMs - reserveMs);
  assert.ok(heldUntil(500, holdMs) > 500 + holdMs / 2);
  assert.equal(heldUntil(500, 0), 500);
});

Deno.test("the deadlines of a lease come in the order that keeps two attempts apart", () => {
  assert.ok(heartbeatMs < lateAfterMs && lateAfterMs < workerEndsMs && workerEndsMs < leaseMs);
  // A worker that stops right after a heartbeat: the last beat to its guardian is a second later.
  assert.ok(heartbeatMs + guardianMs < workerEndsMs);
});
