import assert from "node:assert/strict";
import { table } from "./table.ts";
import { printable } from "../../base/printable.ts";
import { formatBytes } from "../../base/format_bytes.ts";
import { shellLine } from "./format.ts";

const columns = [{ title: "ID" }, { title: "N", right: true }, { title: "TEXT", flexible: true }];

Deno.test("a table lines its columns up and pads nothing at the end", () => {
  assert.equal(
    table(columns, [["a", "1", "x"], ["long", "100", ""]]),
    "ID      N  TEXT\na       1  x\nlong  100\n",
  );
});

Deno.test("a table is fitted to the terminal by its flexible column", () => {
  const text = table(columns, [["a", "1", "a rather long text that has to give way"]], {
    width: 24,
  });
  assert.deepEqual(text.split("\n").slice(0, 2), ["ID  N  TEXT", "a   1  a rather long te…"]);
  assert.equal(text.split("\n")[1]!.length, 24);
});

Deno.test("a narrow terminal has fewer columns, and no line is wider than it", () => {
  const all = [
    { title: "ID" },
    { title: "AGE", right: true, dropOrder: 1 },
    { title: "WORKER", dropOrder: 2 },
    { title: "COMMAND", flexible: true },
  ];
  const rows = [["01jd3p9xabcdef", "10s", "gpu1", "a long command line"]];
  const titles = (width: number) => {
    const lines = table(all, rows, { width }).trimEnd().split("\n");
    for (const line of lines) assert(line.length <= width, `${width}: ${line}`);
    return lines[0]!.split(/ +/);
  };
  assert.deepEqual(titles(60), ["ID", "AGE", "WORKER", "COMMAND"]);
  assert.deepEqual(titles(36), ["ID", "AGE", "COMMAND"]);
  assert.deepEqual(titles(26), ["ID", "COMMAND"]);
  assert.deepEqual(titles(20), ["ID", "COM…"]);
  titles(8);
});

Deno.test("wide characters take two columns", () => {
  assert.equal(
    table([{ title: "A" }, { title: "B" }], [["日本", "x"], ["abc", "y"]]),
    "A     B\n日本  x\nabc   y\n",
  );
});

Deno.test("control characters are shown, not sent to the terminal", () => {
  assert.equal(printable("a\x1b[31mb\u202e\r"), "a\\u001b[31mb\\u202e\\u000d");
  assert.equal(shellLine(["sh", "-c", "echo 'a'\n"]), "sh -c 'echo '\\''a'\\''\\u000a'");
});

Deno.test("bytes are told in the unit that fits", () => {
  assert.deepEqual([0, 1023, 1536, 5 << 20].map(formatBytes), [
    "0 B",
    "1023 B",
    "1.5 KiB",
    "5.0 MiB",
  ]);
});
