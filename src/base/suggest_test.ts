import assert from "node:assert/strict";
import { nearest, suggestion } from "./suggest.ts";

Deno.test("nearest finds what was meant", () => {
  const known = ["version", "config show", "config check", "tls mint", "tls init"];
  for (
    const [typed, meant] of [
      ["versoin", "version"],
      ["vers", "version"],
      ["VERSION", "version"],
      ["confg show", "config show"],
      ["tls mnt", "tls mint"],
      ["tls inti", "tls init"],
      ["tls i", "tls init"],
      ["zebra", undefined],
      ["x", undefined],
      ["", undefined],
      ["v".repeat(100), undefined],
    ]
  ) assert.equal(nearest(typed!, known), meant, typed!);
});

Deno.test("what is the beginning of one name is not another misspelt", () => {
  assert.equal(nearest("--host", ["--out", "--hostname", "--ip"]), "--hostname");
});

Deno.test("suggestion says something else where no name is near", () => {
  assert.deepEqual(suggestion("zebra", ["version"], "agent --help"), { next: "agent --help" });
  assert.deepEqual(suggestion("zebra", ["version"]), {});
});
