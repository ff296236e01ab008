import assert from "node:assert/strict";
import { pointAtBundles } from "./entries.ts";

const entries = ["src/roles/worker.ts", "src/cli/inside.ts"];

Deno.test("the name of an entry is pointed at its bundle, from wherever the chunk lies", () => {
  const named = (path: string) => `x=new URL("${path}",import.meta.url);`;
  assert.equal(
    pointAtBundles(named("../roles/worker.ts"), "chunk-A.js", entries),
    named("./src/roles/worker.js"),
  );
  assert.equal(
    pointAtBundles(named("./inside.ts"), "src/roles/worker.js", entries),
    named("../cli/inside.js"),
  );
});

Deno.test("a name that is no entry stops the bundling", () => {
  assert.throws(() => pointAtBundles('new URL("./x.ts",import.meta.url)', "main.js", entries));
});

Deno.test("other addresses are left alone", () => {
  const text = 'new URL("../../",import.meta.url);new URL("./x.ts",base)';
  assert.equal(pointAtBundles(text, "main.js", entries), text);
});
