import assert from "node:assert/strict";
import { UsageError } from "../../src/base/errors.ts";
import type { Usage } from "../../src/cli/command.ts";
import { flagsOf } from "../../src/cli/flags.ts";
import { parse } from "../../src/cli/parse.ts";
import { findCommand, loadCommand, registry } from "../../src/cli/registry.ts";
import { parseFile } from "../../src/config/file.ts";
import { loadConfig } from "../../src/config/load.ts";
import { type ConfigKey, configKeys, configSections } from "../../src/config/schema.ts";
import { type Random, random } from "../support/random.ts";

// deno-fmt-ignore
const pieces = [
  "", "-", "--", "---", "=", "-=", "--=", "--no-", "--no-json", "--json=", "-h", "-hh", "toString",
  "__proto__", "constructor", "--__proto__=1", "--constructor", "a", "1", "-1", "1e9", "∞", "\0",
  "\x1b[2J", "\n", "x".repeat(10_000), "true", "false", "A=B", "=B", "k=v,k=v", "127.0.0.1:1",
  "[::1]:1", "[", "]", ":", ":1", "tcp://1:2", "/dev/null", "..", "--peer.", "--.", "--peer..insecure",
  "10m", "-10m", "{}", "[]", "&a", "*a", "!!js", "? ", ": ", "- ", "#", "'", '"', "%", "|", ">",
];

/** One line, no control characters, and an exit code of wrong usage. */
function clear(error: unknown, seed: number): void {
  assert(error instanceof UsageError, `seed ${seed}: ${error}`);
  assert(error.message.length > 0 && error.exit === 2, `seed ${seed}`);
}

function words(from: Random, usage: Usage): string[] {
  const flags = flagsOf(usage).map(({ name }) => `--${name}`);
  return Array.from({ length: from.below(6) }, () => {
    const word = from.below(2) === 0 ? from.pick(flags) : from.pick(pieces);
    return from.below(3) === 0 ? word + "=" + from.pick(pieces) : word;
  });
}

Deno.test("any command line is understood or refused, never a crash", async () => {
  const from = random();
  const specs = await Promise.all(Object.keys(registry).map(loadCommand));
  for (let i = 0; i < 5_000; i++) {
    const spec = from.pick(specs);
    try {
      const line = [...spec.path.split(" "), ...words(from, spec)];
      const found = findCommand(from.below(20) === 0 ? line.slice(1) : line);
      if (found.path === spec.path) parse(spec, found.words);
    } catch (error) {
      clear(error, from.seed);
    }
  }
});

Deno.test("any configuration is understood or its problems are listed, never a crash", () => {
  const from = random();
  const host = { hostname: "h", cpus: 1, stateRoot: "/s", terminal: false };
  for (let i = 0; i < 2_000; i++) {
    const lines = Array.from({ length: from.below(6) }, () => {
      const key = from.below(2) === 0 ? from.pick(configKeys).split(".")[1] : from.pick(pieces);
      const indent = from.pick(["", "  ", "  ", "\t"]);
      const name = from.below(2) === 0 ? from.pick(configSections) : key;
      return `${indent}${name}${from.pick([": ", ":", ""])}${from.pick(pieces)}`;
    });
    const flags = new Map<ConfigKey, string>([[from.pick(configKeys), from.pick(pieces)]]);
    const { problems } = loadConfig({
      flags,
      variables: { AGENT_WORKER_LABELS: from.pick(pieces) },
      file: parseFile("/c.yaml", lines.join("\n")),
      workingFolder: "/",
      host,
    });
    for (const { message } of problems) assert(message.length > 0, `seed ${from.seed}`);
  }
});
