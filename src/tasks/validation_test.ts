import assert from "node:assert/strict";
import { isAbsolute, join, relative } from "node:path";
import {
  validateArray,
  validateLabels,
  validateRelativePath,
  validateResult,
  validateWorkerId,
} from "./validation.ts";
import { TaskError } from "./service.ts";
import type { AttemptResult } from "./task.ts";

function accepts(check: () => void): boolean {
  try {
    check();
    return true;
  } catch (error) {
    assert.ok(error instanceof TaskError && error.code === "invalid", String(error));
    return false;
  }
}

Deno.test("no path that is accepted leaves its folder, whatever it is made of", () => {
  const parts = ["..", ".", "", "a", "/", "\\", "..\\", "C:", "\0", "ä", "…", "\ud800", " ", "~"];
  const seed = Date.now() % 1e9;
  let state = seed + 1;
  const below = (count: number) => (state = state * 48271 % 2147483647) % count;
  let accepted = 0;
  for (let round = 0; round < 10_000; round++) {
    const path = Array.from({ length: 1 + below(5) }, () => parts[below(parts.length)])
      .join(below(2) === 0 ? "/" : "");
    if (!accepts(() => validateRelativePath(path, "path"))) continue;
    accepted++;
    const inside = relative("/root/folder", join("/root/folder", path));
    assert.ok(inside !== "" && !isAbsolute(inside), `seed ${seed}: ${JSON.stringify(path)}`);
    assert.equal(inside, path, `seed ${seed}`);
  }
  assert.ok(accepted > 100, `seed ${seed}`);
});

Deno.test("labels are names and values as the configuration takes them", () => {
  const good = [{}, { gpu: "no" }, { "example.com/zone": "eu-1" }, { a: "" }, { v: "1.2-3_x" }];
  const bad = [
    { "": "x" },
    { "-a": "x" },
    { "a-": "x" },
    { "a b": "x" },
    { a: "x y" },
    {
      a: "\n",
    },
    { v: "1+2" },
    { v: "-a" },
  ];
  for (const labels of good) assert.ok(accepts(() => validateLabels(labels, "list")));
  for (const labels of bad as Record<string, string>[]) {
    assert.ok(!accepts(() => validateLabels(labels, "list")), JSON.stringify(labels));
  }
  assert.ok(!accepts(() => validateLabels({ ["x".repeat(64)]: "" }, "list")));
});

Deno.test("worker ids are like host names", () => {
  for (const id of ["gpu1", "gpu1.lan", "a-b_c", "10.0.0.1", "_a", "a-"]) {
    assert.ok(accepts(() => validateWorkerId(id)), id);
  }
  for (const id of ["", ".a", "a b", "a/b", "../a", "host:2", "ä", "x".repeat(254)]) {
    assert.ok(!accepts(() => validateWorkerId(id)), id);
  }
});

Deno.test("an array has from 1 to 10,000 elements", () => {
  const cases: [number, number, boolean][] = [
    [0, 0, true],
    [5, 9, true],
    [1, 10_000, true],
    [0, 10_000, false],
    [2, 1, false],
    [-1, 1, false],
    [0, NaN, false],
    [0, Infinity, false],
  ];
  for (const [first, last, good] of cases) {
    assert.equal(accepts(() => validateArray({ first, last })), good, `${first}-${last}`);
  }
});

Deno.test("a result with impossible numbers is refused", () => {
  const result: AttemptResult = {
    ref: { taskId: "x", attempt: 1, fence: 1 },
    state: "failed",
    exitCode: 1,
    signal: "SIGRTMAX-14",
    reason: undefined,
    startedAt: 0,
    finishedAt: 1,
    stdoutBytes: 0,
    stderrBytes: 0,
  };
  assert.ok(accepts(() => validateResult(result)));
  const bad: Partial<AttemptResult>[] = [
    { stdoutBytes: -1 },
    { stderrBytes: 0.5 },
    { exitCode: NaN },
    { finishedAt: Infinity },
    { startedAt: -1 },
    { signal: "kill me" },
    { reason: "two\nlines" },
    { reason: "x".repeat(10_000) },
  ];
  for (const more of bad) {
    assert.ok(!accepts(() => validateResult({ ...result, ...more })), JSON.stringify(more));
  }
});
