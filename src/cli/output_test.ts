import assert from "node:assert/strict";
import { facts, printable, styled, table } from "./output.ts";

const plain = { color: false };

Deno.test("a table is aligned by what a terminal shows", () => {
  const rows = [{ id: "a", n: 5, state: "läuft" }, { id: "長い", n: 1234, state: "👍" }];
  const text = table(plain, rows, [
    { title: "ID", value: ({ id }) => id },
    { title: "N", value: ({ n }) => n, align: "right" },
    { title: "STATE", value: ({ state }) => state },
  ]);
  assert.equal(
    text,
    [
      "ID       N  STATE",
      "a        5  läuft",
      "長い  1234  👍",
    ].join("\n"),
  );
});

Deno.test("an empty table is a sentence, a missing value a dash", () => {
  assert.equal(table(plain, [], [{ title: "ID", value: () => "" }], "No tasks"), "No tasks");
  assert.equal(table(plain, [1], [{ title: "ID", value: () => undefined }]), "ID\n-");
});

Deno.test("no control character of a peer reaches the terminal", () => {
  const evil = "a\x1b]0;x\x07\nb\r\u202ec\x9b1m";
  const neutral = "a\\u001b]0;x\\u0007\\u000ab\\u000d\\u202ec\\u009b1m";
  assert.equal(printable(evil), neutral);
  assert.equal(table(plain, [evil], [{ title: "A", value: (row) => row }]), `A\n${neutral}`);
  assert.equal(facts(plain, [["name", evil], ["none", undefined]]), `name  ${neutral}`);
});

Deno.test("colour is where it is wanted and only there", () => {
  assert.equal(styled({ color: true }, "red", "x"), "\x1b[31mx\x1b[39m");
  assert.equal(styled(plain, "red", "x"), "x");
});
