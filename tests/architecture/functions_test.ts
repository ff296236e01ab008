import assert from "node:assert/strict";
import { readSource, sources } from "./source.ts";

/** Two screens: beyond that nobody sees the whole of a function. */
const longest = 80;

/** Tables and SQL: many lines of one kind, none of which needs the others to be understood. */
const tables = new Set([
  // Each kind of change with its statement.
  "src/store/sqlite/writes.ts createWriter",
  "src/store/sqlite/writes.ts (function)",
]);
Deno.test(`no function is longer than ${longest} lines`, async () => {
  const long = (await sources()).flatMap(({ file, functions }) =>
    functions.filter(({ name }) => !tables.has(`${file} ${name}`))
      .filter(({ lines }) => lines > longest)
      .map(({ name, line, lines }) => `${file}:${line} ${name} has ${lines} lines`)
  );
  assert.deepEqual(long, []);
});

Deno.test("functions are found by name and length, whatever their form", () => {
  const text = `function a() {
}
const b = () =>
  1;
const c = { d() {
  }, e: function () {} };
class F {
  g() {

  }
}`;
  const { functions } = readSource("one.ts", text);
  assert.deepEqual(functions.map(({ name, line, lines }) => `${name} ${line} ${lines}`), [
    "a 1 2",
    "b 3 2",
    "d 5 2",
    "e 6 1",
    "g 8 3",
  ]);
});
