import assert from "node:assert/strict";
import { architecture, quotedIn, root, tableRows } from "./document.ts";

Deno.test("every file that docs/architecture.md names is there", async () => {
  const named = architecture.matchAll(/`((?:src|tests|scripts|docs)\/[\w./]+)`/g);
  const paths = new Set([...named].map(([, path]) => path!));
  assert.ok(paths.size > 30, "the page names the files of the program");
  const missing: string[] = [];
  for (const path of paths) {
    await Deno.stat(root + path).catch(() => missing.push(path));
  }
  assert.deepEqual(missing, []);
});

Deno.test("every folder of the program has a row", async () => {
  const folders: string[] = [];
  for await (const { name } of Deno.readDir(`${root}src`)) folders.push(name);
  const rows = tableRows("imports").map(([folder]) => quotedIn(folder!)[0]);
  assert.deepEqual(folders.filter((name) => name !== "std" && !rows.includes(name)), []);
});
