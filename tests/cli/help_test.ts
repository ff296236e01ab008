import assert from "node:assert/strict";
import { commandHelp, groupHelp } from "../../src/cli/help.ts";
import { configFlags, flagsOf, optionFlags } from "../../src/cli/flags.ts";
import { parse } from "../../src/cli/parse.ts";
import { findCommand, groups, loadCommand, registry } from "../../src/cli/registry.ts";
import { splitLine } from "../support/split_line.ts";

const narrow = 60;

for (const path of Object.keys(registry)) {
  Deno.test(`the help of "${path}" is good`, async () => {
    const spec = await loadCommand(path);
    assert.equal(spec.path, path, "the path says the same as the registry");
    if (spec.hidden) return;
    assert.match(spec.summary, /^[A-Z].*[^.]$/, "capital first, no full stop");
    assert(spec.summary.length <= 80, "the summary fits on a line");
    assert.notEqual(spec.examples.length, 0, "there is an example");
    for (const { line, does } of spec.examples) {
      assert.match(does, /^[A-Z].*[^.]$/, line);
      const words = splitLine(line);
      assert.equal(words.shift(), "agent", line);
      const found = findCommand(words);
      assert.equal(found.path, path, `the example "${line}" is of this command`);
      parse(spec, found.words);
    }
    const flags = flagsOf(spec);
    for (const flag of [...optionFlags(spec.options), ...configFlags(spec)]) {
      assert.match(flag.help, /^[A-Z].*[^.]$/, `--${flag.name}: capital first, no full stop`);
    }
    assert.equal(new Set(flags.map(({ name }) => name)).size, flags.length, "names are unique");
    const shorts = flags.flatMap(({ short }) => short ?? []);
    assert.equal(new Set(shorts).size, shorts.length, "letters are unique");
    assert.deepEqual(shorts.filter((short) => short.length !== 1), []);

    const help = commandHelp(spec, narrow);
    const order = ["Examples:", "Usage:", "Common flags:", "Exit codes:"];
    const places = order.map((title) => help.indexOf(`\n${title}\n`));
    assert.deepEqual(places, [...places].sort((a, b) => a - b), "examples come first");
    assert(!places.includes(-1), help);
    for (const line of help.split("\n")) {
      const free = line.startsWith("  agent ") || !/^\s{0,4}[A-Za-z].* .* /.test(line);
      assert(free || line.length <= narrow, `wraps: "${line}"`);
    }
  });
}

Deno.test("help lists every command that is not hidden, and every group has its sentence", async () => {
  const help = await groupHelp("", 100);
  for (const path of Object.keys(registry)) {
    const spec = await loadCommand(path);
    const [group, ...rest] = path.split(" ");
    assert.equal(help.includes(`\n  ${path} `), !spec.hidden, path);
    if (rest.length > 0 && !spec.hidden) {
      assert.match(groups[group!] ?? "", /^[A-Z].*[^.]$/, group!);
    }
  }
});

Deno.test("a client command shows its own flags and points to the settings", async () => {
  const help = commandHelp(await loadCommand("task list"), 100);
  const flags = help.slice(help.indexOf("\nFlags:"), help.indexOf("\nSettings:"));
  assert.match(flags, /^ {6}--state /m);
  assert.match(flags, /^ {6}--coordinators, --client\.coordinators HOST:PORT$/m);
  assert.doesNotMatch(help, /--peer\.cert-file|--node\./);
  assert.match(help.replaceAll(/\s+/g, " "), /agent config show --help describes them/);
});

Deno.test("the setting that help names as an example is a flag of that command", async () => {
  for (const path of Object.keys(registry)) {
    const spec = await loadCommand(path);
    const help = commandHelp(spec, 100).replaceAll(/\s+/g, " ");
    const [, example] = /are flags? too, such as --([\w.-]+)/.exec(help) ?? [];
    if (example === undefined) continue;
    const names = flagsOf(spec).map(({ name }) => name);
    assert.ok(names.includes(example.replace(/\.$/, "")), `${path}: --${example}`);
    assert.doesNotMatch(help, /settings of {2}|settings of and/);
  }
});

Deno.test("a role describes its own settings, and no other role's", async () => {
  const help = commandHelp(await loadCommand("worker"), 100);
  assert.match(help, /--worker\.slots N/);
  assert.match(help, /--peer\.cert-file PATH/);
  assert.doesNotMatch(help, /--(coordinator|node|server|client)\./);
  assert.match(commandHelp(await loadCommand("config show"), 100), /--node\.port PORT/);
});
