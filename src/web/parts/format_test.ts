import assert from "node:assert/strict";
import { commandLine, formatBytes, formatLatency, formatOffset } from "./format.ts";
import { relativeTime } from "./relative_time.ts";

Deno.test("bytes have two or three digits", () => {
  const cases = [[0, "0 B"], [1023, "1023 B"], [1536, "1.5 KiB"], [
    64 * 2 ** 30,
    "64 GiB",
  ]] as const;
  for (const [bytes, text] of cases) assert.equal(formatBytes(bytes), text);
});

Deno.test("the clock of another node is in step, ahead or behind", () => {
  assert.equal(formatOffset(-30), "in step");
  assert.equal(formatOffset(-8_300), "8.3 s behind");
  assert.equal(formatOffset(86_400_000), "24 h ahead");
  assert.equal(formatLatency(0.42), "0.4 ms");
});

Deno.test("a command is shown as it would be typed", () => {
  assert.equal(commandLine(["echo", "a b"]), "echo 'a b'");
  assert.equal(commandLine(["/bin/sh", "-c", "a | b\nc"]), "a | b\nc");
  assert.equal(commandLine(["/bin/sh", "-c", "ls \u202emr"]), "ls \\u202emr");
});

Deno.test("times are relative, and calm while they are new", () => {
  const cases = [
    [14_000, "now"],
    [29_000, "20 s ago"],
    [90_000, "1 min ago"],
    [3_600_000 * 5, "5 h ago"],
    [86_400_000 * 3, "3 d ago"],
    [-86_400_000 * 3, "in 3 d"],
  ] as const;
  for (const [ago, text] of cases) assert.equal(relativeTime(1e12 - ago, 1e12), text);
});
