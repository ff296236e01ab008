import assert from "node:assert/strict";
import type { Host } from "./hosts.ts";
import { readWalk, stepsBelow, Typist } from "./walk.ts";

const text = [
  "# Doc",
  "## One",
  "```sh",
  "# on a",
  "echo 1 \\",
  "  2",
  "false   # exits 1: it is so",
  "# on b, until Ctrl-C",
  "serve",
  "```",
  "### Below",
  "```sh",
  "# on a",
  "echo x; echo 'a  (b) 7'",
  "```",
  "",
  "```text",
  "x",
  "a (b) …",
  "```",
  "## Two",
  "```sh",
  "# on a Mac",
  "security",
  "```",
].join("\n");

Deno.test("the steps of a document are read by section, host and expected result", () => {
  const walk = readWalk("d.md", text, ["a", "b"]);
  assert.deepEqual(stepsBelow(walk, "One").map(({ host, commands }) => [host, commands]), [
    ["a", [{ line: "echo 1 \\\n  2", exit: 0 }, {
      line: "false   # exits 1: it is so",
      exit: 1,
    }]],
    ["b", [{ line: "serve", exit: 0 }]],
    ["a", [{ line: "echo x; echo 'a  (b) 7'", exit: 0 }]],
  ]);
  assert.deepEqual(walk.foreign, [{ on: "a Mac", at: "d.md:22" }]);
  assert.throws(
    () => readWalk("d.md", "```sh\nls\n```", ["a"]),
    /d.md:1: a block of sh must begin/,
  );
});

Deno.test("what is printed and how a command exits is compared with the document", async () => {
  const walk = readWalk("d.md", text, ["a", "b"]);
  const steps = stepsBelow(walk, "Below");
  const shell = (stdout: string, code = 0) => [
    { name: "a", run: () => Promise.resolve({ code, stdout, stderr: "" }) } as unknown as Host,
  ];
  await new Typist(shell("x\na  (b) 7\n")).type(steps);
  await assert.rejects(new Typist(shell("x\nb\n")).type(steps), /d.md:12: not printed: a \(b\)/);
  await assert.rejects(new Typist(shell("x\n", 3)).type(steps), /exits 3, not 0: echo x/);
});
