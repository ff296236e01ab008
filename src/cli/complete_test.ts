import assert from "node:assert/strict";
import { complete } from "./complete.ts";

async function wordsAfter(words: string[]): Promise<string[] | undefined> {
  const found = await complete(words);
  return found !== undefined && "candidates" in found
    ? found.candidates.map(({ word }) => word)
    : undefined;
}

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
      [["config", "show", "--log.level=d"], ["--log.level=debug"], ["--log.level=info"]],
      [["config", "show", "--color", "a"], ["auto", "always"], ["never"]],
    ] as [string[], string[], string[]][]
  ) {
    const found = await wordsAfter(words) ?? [];
    for (const word of some) assert(found.includes(word), `${words.join(" ")}: ${word}`);
    for (const word of not) assert(!found.includes(word), `${words.join(" ")}: not ${word}`);
  }
});

Deno.test("completion leaves names of files, and what it does not know, to the shell", async () => {
  for (
    const words of [
      ["nothing", ""],
      ["config", "nothing", ""],
      ["config", "show", "--peer.cert-file", ""],
      ["sandbox", "show", "--", "-"],
      ["submit", "--", "make", "--"],
      ["tls", "import-ca", ""],
      ["state", "get", ""],
    ]
  ) assert.equal(await complete(words), undefined, words.join(" "));
});

Deno.test("commands and flags are described", async () => {
  const does = async (...words: string[]) => {
    const found = await complete(words);
    assert(found !== undefined && "candidates" in found);
    return found.candidates[0]!.does;
  };
  assert.match(await does("tls", "mint") ?? "", /^Issue a certificate/);
  assert.match(await does("worke") ?? "", /\w/);
  assert.match(await does("doctor", "--bundle") ?? "", /^Write findings/);
});

Deno.test("completion knows what to ask coordinators, and which", async () => {
  const asked = { namespace: undefined, typed: "", prefix: "", except: [], dial: [] };
  const dial = ["--client.coordinators=hub:1", "--peer.insecure=true"];
  for (
    const [words, question] of [
      [["task", "show", "01"], { kind: "task", typed: "01" }],
      [["task", "cancel", "01a", "01"], { kind: "open_task", typed: "01", except: ["01a"] }],
      [["task", "delete", ""], { kind: "finished_task" }],
      [["workers", "drain", "--json", "g"], { kind: "worker", typed: "g" }],
      [["submit", "--shell", "--worker", "g"], { kind: "worker", typed: "g" }],
      [["submit", "--worker=g"], { kind: "worker", typed: "g", prefix: "--worker=" }],
      [["state", "get", "build", "a"], { kind: "state_key", namespace: "build", typed: "a" }],
      [["task", "logs", "--coordinators", "hub:1", "--peer.insecure=true", ""], {
        kind: "task",
        dial,
      }],
    ] as const
  ) {
    const found = await complete(words);
    assert(found !== undefined && "live" in found, words.join(" "));
    assert.deepEqual({ ...asked, ...found.live }, { ...asked, ...question }, words.join(" "));
  }
  assert.equal(await complete(["task", "show", "01", ""]), undefined);
});
