import assert from "node:assert/strict";
import { readSource, sources } from "./source.ts";

Deno.test("no declaration with `using` is one that minifying drops", async () => {
  // Deno's bundler puts a value that is used once, first in the next statement, in its place, and what
  // was to be closed stays open. Write try and finally there; scripts/bundle.ts counts again.
  const dropped = (await sources()).flatMap(({ file, inlinedUsings }) =>
    inlinedUsings.map((line) => `${file}:${line}`)
  );
  assert.deepEqual(dropped, []);
});

Deno.test("such a declaration is found", () => {
  const text = `function f() {
  using a = open();
  a.read();
}
function g() {
  using b = open();
  b.read();
  b.write();
}
function h() {
  await using _ = open();
  return 1;
}`;
  assert.deepEqual(readSource("one.ts", text).inlinedUsings, [2]);
});
