import assert from "node:assert/strict";
import { UsageError } from "../base/errors.ts";
import { readTaskDescription, type TaskDescription, taskSpec } from "./task_spec.ts";

const whole: TaskDescription = {
  argv: ["echo", "$A", "|", "cat"],
  shell: true,
  selector: { gpu: "a100" },
  env: { A: "1=2", EMPTY: "" },
  cwd: "/srv/work",
  timeout_ms: 90_000,
  retries: 2,
  retry_delay_ms: 500,
  max_lost: 0,
  lost_after_ms: 600_000,
  artifacts: ["out/*", "**/*.log", "..."],
  array: "0-9",
  idempotency_key: "nightly 2026",
};

Deno.test("a task is what its description says", () => {
  const { spec, options } = taskSpec(whole);
  assert.deepEqual(spec, {
    argv: ["/bin/sh", "-c", "echo $A | cat"],
    env: { A: "1=2", EMPTY: "" },
    cwd: "/srv/work",
    selector: { gpu: "a100" },
    timeoutMs: 90_000,
    retries: 2,
    retryDelayMs: 500,
    artifacts: ["out/*", "**/*.log", "..."],
    maxLost: 0,
    lostAfterMs: 600_000,
  });
  assert.deepEqual(options, { array: { first: 0, last: 9 }, idempotencyKey: "nightly 2026" });
});

Deno.test("a description that came as JSON is the same task, null is nothing", () => {
  assert.deepEqual(readTaskDescription(JSON.parse(JSON.stringify(whole))), whole);
  const { spec, options } = taskSpec(readTaskDescription({ argv: ["true"], cwd: null }));
  assert.deepEqual(spec, {
    argv: ["true"],
    env: {},
    cwd: undefined,
    selector: {},
    timeoutMs: undefined,
    retries: 0,
    retryDelayMs: 0,
    artifacts: [],
  });
  assert.deepEqual(options, {});
});

Deno.test("JSON of another shape is refused by the name of its field", () => {
  for (
    const [json, message] of [
      [null, /is a JSON object/],
      [[], /is a JSON object/],
      [{ argv: "true" }, /"argv" must be a list of strings/],
      [{ argv: [1] }, /"argv" must be a list of strings/],
      [{ env: ["A=1"] }, /"env" must be an object of strings/],
      [{ env: { A: 1 } }, /"env" must be an object of strings/],
      [{ retries: "1" }, /"retries" must be a number/],
      [{ shell: "yes" }, /"shell" must be true or false/],
      [{ argvs: [] }, /Unknown field "argvs"/],
      [{ constructor: 1 }, /Unknown field "constructor"/],
      [JSON.parse('{"__proto__": 1}'), /Unknown field "__proto__"/],
    ] as [unknown, RegExp][]
  ) {
    assert.throws(
      () => readTaskDescription(json),
      (error) => error instanceof UsageError && message.test(error.message),
      JSON.stringify(json),
    );
  }
});

Deno.test("what the coordinator would refuse is refused before anything is sent", () => {
  const cases: [Partial<TaskDescription>, RegExp][] = [
    [{ argv: [] }, /No command/],
    [{ argv: [""] }, /No command/],
    [{ argv: ["a\0"] }, /zero character/],
    [{ argv: ["x".repeat(1_100_000)] }, /longer than/],
    [{ argv: Array(10_001).fill("x") }, /more than/],
    [{ selector: { "a b": "c" } }, /"a b" in the selector/],
    [{ selector: { a: "x".repeat(64) } }, /in the selector/],
    [{ env: { "1A": "x" } }, /^--env: "1A" is not the name of a variable/],
    [{ env: { A: "x\0" } }, /variable "A"/],
    [{ env: { A: "x".repeat(300_000) } }, /variable "A".* longer than/],
    [{ cwd: "here" }, /working folder/],
    [{ timeout_ms: 0 }, /^--timeout-ms 0 would/],
    [{ timeout_ms: 1.5 }, /timeout/],
    [{ timeout_ms: NaN }, /timeout/],
    [{ retries: -1 }, /retries/],
    [{ artifacts: ["/etc/passwd"] }, /"\/etc\/passwd"/],
    [{ artifacts: ["C:\\x"] }, /artifact pattern/],
    [{ artifacts: ["a/../../b"] }, /"\.\."/],
    [{ artifacts: [""] }, /is empty/],
    [{ artifacts: ["a//b"] }, /has an empty/],
    [{ artifacts: ["a\nb"] }, /control character/],
    [{ artifacts: Array(101).fill("a") }, /more than 100/],
    [{ array: "5-2" }, /is not a list/],
    [{ array: "-1-2" }, /is not a list/],
    [{ array: "0-10000" }, /more than 10000/],
    [
      { array: "0-9,".repeat(10_001) },
      /^--array "(0-9,){20}…" is not a list.*more than 10000 elements/,
    ],
    [{ idempotency_key: "" }, /idempotency key/],
    [{ idempotency_key: "a\nb" }, /idempotency key/],
  ];
  for (const [wrong, message] of cases) {
    const flags = (field: string) => `--${field.replaceAll("_", "-")}`;
    assert.throws(
      () => taskSpec({ argv: ["true"], ...wrong }, flags),
      (error) => error instanceof UsageError && message.test(error.message),
      JSON.stringify(wrong).slice(0, 100),
    );
  }
});

Deno.test("an array is a number, a range, or a list of both, with a limit", () => {
  const read = (array: string) => {
    const { spec, options } = taskSpec({ argv: ["true"], array });
    return [options.array, spec.atOnce];
  };
  assert.deepEqual(read("7"), [{ first: 7, last: 7 }, undefined]);
  assert.deepEqual(read("0-9%3"), [{ first: 0, last: 9 }, 3]);
  assert.deepEqual(read("5-9,1,3%20"), [
    { first: 1, last: 1, more: [{ first: 3, last: 3 }, { first: 5, last: 9 }] },
    20,
  ]);
  for (const bad of ["", "a", "1,,2", "3-1", "1-3,2", "1%", "1%0", "0-99999", "1-2-3", "1,2%x"]) {
    assert.throws(() => read(bad), UsageError, bad);
  }
});
