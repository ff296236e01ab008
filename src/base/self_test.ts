import assert from "node:assert/strict";
import { selfCommand, sourceFlags } from "./self.ts";
import { build, version } from "./version.ts";

Deno.test("from source the program starts again by Deno, with main.ts of the same tree", () => {
  const { command, args } = selfCommand();
  assert.equal(command, Deno.execPath());
  assert.deepEqual(args.slice(0, sourceFlags.length + 1), ["run", ...sourceFlags]);
  assert.ok(args.at(-1)!.endsWith("/main.ts"));
  assert.equal(
    args.at(-1)!.slice(0, -"main.ts".length),
    args.at(-2)!.slice(0, -"deno.json".length),
  );
});

Deno.test("launcher and executable have the flags that the program starts itself with", async () => {
  const read = (name: string) =>
    Deno.readTextFile(new URL(`../../scripts/${name}`, import.meta.url));
  const v8Flags = /^v8_flags=(.*)$/m.exec(await read("find_deno.sh"))![1]!;
  for (const script of ["agent", "compile"]) {
    const words = (await read(script)).replaceAll("\\\n", " ").split(/\s+/);
    for (const flag of sourceFlags) {
      const word = flag.replace(v8Flags, '"$v8_flags"');
      assert.ok(words.includes(word), `${script}: ${word}`);
    }
  }
});

Deno.test("the build names the version of deno.json and the commit of the checkout", async () => {
  const facts = await build();
  assert.match(version, /^\d+\.\d+\.\d+/);
  assert.equal(facts.version, version);
  assert.equal(facts.deno, Deno.version.deno);
  if (facts.commit !== undefined) assert.match(facts.commit, /^[0-9a-f]{12,}(-dirty)?$/);
});
