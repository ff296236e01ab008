import assert from "node:assert/strict";
import { splitLine } from "./split_line.ts";

Deno.test("a line is split as a shell would", () => {
  for (
    const [line, words] of [
      ["agent submit -- sh -c 'a b; c > d'", ["agent", "submit", "--", "sh", "-c", "a b; c > d"]],
      ['a "b \\" c" d\\ e f"g"h', ["a", 'b " c', "d e", "fgh"]],
      ["a - < in > out 2>/dev/null | b", ["a", "-"]],
      ["a '' b", ["a", "", "b"]],
    ] as [string, string[]][]
  ) assert.deepEqual(splitLine(line), words);
});
