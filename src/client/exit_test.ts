import assert from "node:assert/strict";
import type { Attempt, Task } from "../tasks/task.ts";
import { arrayExit, taskExit } from "./exit.ts";
import { anAttempt, aTask } from "../../tests/support/fake_tasks.ts";

const ended = (state: Task["state"], ...attempts: Partial<Attempt>[]) =>
  aTask({ state, attempts: attempts.map((facts, i) => anAttempt(i + 1, facts)) });

Deno.test("who follows a task exits as it ended", () => {
  const cases: [Task, number][] = [
    [ended("succeeded", { exitCode: 0 }), 0],
    [ended("succeeded", { exitCode: 3 }, { exitCode: 0 }), 0],
    [ended("failed", { exitCode: 7 }), 7],
    [ended("failed", { exitCode: 1 }, { exitCode: 9 }), 9],
    [ended("failed", { exitCode: 7 }, { exitCode: 1, superseded: true }), 7],
    [ended("failed", { exitCode: undefined, signal: "SIGKILL" }), 137],
    [ended("failed", { exitCode: undefined, signal: "SIGTERM" }), 143],
    [ended("failed", { exitCode: undefined }), 1],
    [ended("failed", { exitCode: 256 }), 1],
    [ended("failed", { exitCode: -5 }), 251],
    [ended("timed_out", { exitCode: undefined, signal: "SIGKILL" }), 124],
    [ended("cancelled"), 130],
    [ended("lost"), 125],
  ];
  for (const [task, code] of cases) assert.equal(taskExit(task), code, JSON.stringify(task));
});

Deno.test("an array exits with the code of the lowest index that failed", () => {
  const element = (arrayIndex: number, exitCode: number) =>
    aTask({
      arrayIndex,
      state: exitCode === 0 ? "succeeded" : "failed",
      attempts: [anAttempt(1, { exitCode })],
    });
  assert.equal(arrayExit([element(2, 5), element(0, 0), element(1, 4)]), 4);
  assert.equal(arrayExit([element(2, 0), element(0, 0)]), 0);
});
