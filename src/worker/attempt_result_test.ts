import assert from "node:assert/strict";
import { limits } from "../tasks/limits.ts";
import { attemptResult, type Finish } from "./attempt_result.ts";

const exited: Finish["exited"] = {
  cause: "exit",
  startedAt: 10,
  at: 20,
  exitCode: 0,
  signal: undefined,
  reason: undefined,
};
const finish: Finish = {
  ref: { taskId: "t", attempt: 1, fence: 1 },
  spec: { timeoutMs: 90_000 },
  exited,
  notes: [],
  stdoutBytes: 1,
  stderrBytes: 2,
};

Deno.test("how an attempt ended follows from how its process did", () => {
  const cases: [Partial<Finish["exited"]>, string, string | undefined][] = [
    [{}, "succeeded", undefined],
    [{ exitCode: 3 }, "failed", "Exited with code 3"],
    [{ exitCode: undefined, signal: "SIGSEGV" }, "failed", "Ended by SIGSEGV"],
    [
      { cause: "timed_out", exitCode: undefined, signal: "SIGTERM" },
      "timed_out",
      "Took longer " +
      "than its timeout of 1m30s",
    ],
    [{ cause: "timed_out", exitCode: 0 }, "timed_out", "Took longer than its timeout of 1m30s"],
    [{ cause: "cancelled", exitCode: 0 }, "cancelled", undefined],
    [{ cause: "not_started", exitCode: 127, reason: "Not there" }, "failed", "Not there"],
    [{ cause: "lost", reason: "Ended, as it was" }, "lost", "Ended, as it was"],
  ];
  for (const [how, state, reason] of cases) {
    const result = attemptResult({ ...finish, exited: { ...exited, ...how } });
    assert.equal(result.state, state);
    assert.equal(result.reason, reason);
  }
});

Deno.test("notes are part of the reason, whose length is bounded", () => {
  const noted = attemptResult({ ...finish, notes: ["one", "two"] });
  assert.equal(noted.state, "succeeded");
  assert.equal(noted.reason, "one; two");
  const long = attemptResult({ ...finish, notes: ["x".repeat(9_000)] });
  assert.equal(long.reason!.length, limits.maxReasonLength);
});

Deno.test("a reason is one line, whatever names a task has chosen", () => {
  const noted = attemptResult({ ...finish, notes: ['"a\nb\x1b[2J" was left out'] });
  assert.equal(noted.reason, '"a\ufffdb\ufffd[2J" was left out');
});
