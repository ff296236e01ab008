/** Names of files and of what they export, compared with the glossary of docs/architecture.md. */
import assert from "node:assert/strict";
import { basename } from "node:path";
import { sourceFiles } from "../../scripts/entries.ts";
import { quotedIn, root, tableRows } from "./document.ts";
import { sources } from "./source.ts";

const glossary = tableRows("glossary");
const banned = new Set(glossary.flatMap(([, not]) => not!.split(", ")));
const allowed = new Set(glossary.flatMap(([, , except]) => quotedIn(except!)));

/** `leaseTable.ts`, `lease_table` and `LeaseTable` are lease and table. */
function wordsOf(name: string): string[] {
  return name.replaceAll(/([a-z0-9])([A-Z])/g, "$1_$2").toLowerCase().split(/[^a-z0-9]+/);
}

/** The banned words in a name; a function that checks and throws may say so. */
function bannedIn(name: string, isFunction = false): string[] {
  if (allowed.has(name)) return [];
  const words = wordsOf(name);
  if (isFunction && words[0] === "check" && allowed.has("check…")) words.shift();
  return words.filter((word) => banned.has(word));
}

Deno.test("the glossary is read", () => {
  assert.ok(banned.has("ledger") && banned.has("checks") && banned.has("utils"));
  assert.deepEqual(bannedIn("lease_ledger.ts"), ["ledger"]);
  assert.deepEqual(bannedIn("AttemptOutcome"), ["outcome"]);
  assert.deepEqual(bannedIn("checkOutcome", true), ["outcome"]);
  assert.deepEqual(bannedIn("Check"), ["check"]);
  assert.deepEqual(bannedIn("config_check.ts"), []);
  assert.deepEqual(bannedIn("checksum.ts"), []);
});

Deno.test("no file or folder has a banned word in its name", async () => {
  const broken: string[] = [];
  for (const folder of ["src", "scripts", "tests"]) {
    for await (const file of sourceFiles(root, folder)) {
      const folders = file.split("/").slice(0, -1).flatMap((name) => bannedIn(name));
      const words = [...folders, ...bannedIn(basename(file))];
      if (words.length > 0) broken.push(`${file}: ${words}`);
    }
  }
  assert.deepEqual(broken, []);
});

Deno.test("nothing that is exported has a banned word in its name", async () => {
  const broken = (await sources()).flatMap(({ file, exports }) =>
    exports.map(({ name, isFunction }) => ({ name, words: bannedIn(name, isFunction) }))
      .filter(({ words }) => words.length > 0)
      .map(({ name, words }) => `${file}: ${name} (${words})`)
  );
  assert.deepEqual(broken, []);
});
