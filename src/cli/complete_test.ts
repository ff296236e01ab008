import assert from "node:assert/strict";
import { complete } from "./complete.ts";

Deno.test("completion knows commands, flags and choices", async () => {
  for (
    const [words, some, not] of [
      [[""], ["version", "config", "tls"], ["guardian", "--json"]],
      [["vers"], ["version"], ["config"]],
      [["config", ""], ["show", "check"], ["config"]],
      [["config", "s"], ["show"], ["check"]],
      [["config", "show", "--log"], ["--log.level", "--log.format"], ["--json"]],
      [["config", "show", "--json", "--"], ["--log.level"], ["--json", "--"]],
      [["config", "show", "--log.level", ""], ["debug", "info", "warn", "error"], []],
      [["config", "show", "--color", "a"], ["auto", "always"], ["never"]],
      [["config", "show", "--peer.cert-file", ""], [], ["--json"]],
    ] as [string[], string[], string[]][]
  ) {
    const found = await complete(words);
    for (const word of some) assert(found.includes(word), `${words.join(" ")}: ${word}`);
    for (const word of not) assert(!found.includes(word), `${words.join(" ")}: not ${word}`);
  }
  assert.deepEqual(await complete(["nothing", ""]), []);
  assert.deepEqual(await complete(["config", "nothing", ""]), []);
  assert.deepEqual(await complete(["sandbox", "show", "--", "-"]), []);
});
