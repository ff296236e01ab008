import assert from "node:assert/strict";
import { UsageError } from "../base/errors.ts";
import { type SubmitRequest, taskSpec } from "./task_spec.ts";

const plain: SubmitRequest = {
  selector: {},
  env: {},
  cwd: undefined,
  shell: false,
  timeout: undefined,
  retries: 0,
  retryDelay: 0,
  artifact: [],
  array: undefined,
  idempotencyKey: undefined,
};

Deno.test("a submit says what its flags say", () => {
  const { spec, options } = taskSpec({
    ...plain,
    selector: { gpu: "a100" },
    env: { A: "1=2", EMPTY: "" },
    cwd: "/srv/work",
    shell: true,
    timeout: 90_000,
    retries: 2,
    retryDelay: 500,
    artifact: ["out/*", "**/*.log", "..."],
    array: "0-9",
    idempotencyKey: "nightly 2026",
  }, ["echo", "$A", "|", "cat"]);
  assert.deepEqual(spec, {
    argv: ["/bin/sh", "-c", "echo $A | cat"],
    env: { A: "1=2", EMPTY: "" },
    cwd: "/srv/work",
    selector: { gpu: "a100" },
    timeoutMs: 90_000,
    retries: 2,
    retryDelayMs: 500,
    artifacts: ["out/*", "**/*.log", "..."],
  });
  assert.deepEqual(options, { array: { first: 0, last: 9 }, idempotencyKey: "nightly 2026" });
});

Deno.test("what is wrong is refused before anything is sent, by the name of its flag", () => {
  const cases: [Partial<SubmitRequest>, RegExp][] = [
    [{ selector: { "a b": "c" } }, /--selector "a b=c" is no label/],
    [{ selector: { "a": "x".repeat(64) } }, /--selector/],
    [{ env: { "1A": "x" } }, /"1A" is no name of a variable/],
    [{ env: { "A": "x\0" } }, /--env A contains a NUL/],
    [{ env: { "A": "x".repeat(300_000) } }, /--env sets 1 variables of/],
    [{ cwd: "here" }, /--cwd "here" is not an absolute path/],
    [{ timeout: 0 }, /--timeout 0/],
    [{ artifact: ["/etc/passwd"] }, /is an absolute path/],
    [{ artifact: ["C:\\x"] }, /is an absolute path/],
    [{ artifact: ["a/../../b"] }, /contains "\.\."/],
    [{ artifact: [".."] }, /contains "\.\."/],
    [{ artifact: [""] }, /is empty/],
    [{ artifact: ["./a"] }, /empty or "\." part/],
    [{ artifact: ["a//b"] }, /empty or "\." part/],
    [{ artifact: ["a\nb"] }, /control character/],
    [{ artifact: Array(101).fill("a") }, /--artifact is given 101 times/],
    [{ array: "5" }, /--array "5" is no range/],
    [{ array: "5-2" }, /is no range/],
    [{ array: "-1-2" }, /is no range/],
    [{ array: "0-10000" }, /is more than 10000 tasks/],
    [{ idempotencyKey: "" }, /--idempotency-key must be/],
    [{ idempotencyKey: "a\nb" }, /--idempotency-key must be/],
  ];
  for (const [wrong, message] of cases) {
    assert.throws(
      () => taskSpec({ ...plain, ...wrong }, ["true"]),
      (error) => error instanceof UsageError && message.test(error.message),
      JSON.stringify(wrong),
    );
  }
  for (const words of [[], [""], ["a\0"], ["x".repeat(1_100_000)], Array(10_001).fill("x")]) {
    assert.throws(() => taskSpec(plain, words), UsageError);
  }
});
