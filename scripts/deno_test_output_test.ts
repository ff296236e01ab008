import assert from "node:assert/strict";
import { countsOf, failuresIn } from "./deno_test_output.ts";

/** Runs a test file of its own, as scripts/test does. */
async function ran(text: string): Promise<{ output: string; success: boolean }> {
  const folder = await Deno.makeTempDir({ prefix: "agent-test-output-" });
  try {
    await Deno.writeTextFile(`${folder}/own_test.ts`, text);
    const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "--no-config", "--no-check", "--parallel", "--quiet", "own_test.ts"],
      cwd: folder,
      env: { NO_COLOR: "1" },
    }).output();
    const decoder = new TextDecoder();
    return { output: decoder.decode(stdout) + decoder.decode(stderr), success };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("counts and names are read from what this Deno prints", async () => {
  const { output, success } = await ran(`
    Deno.test("holds", () => {});
    Deno.test("does not hold", () => { throw new Error("no"); });
    Deno.test("is skipped", { ignore: true }, () => {});
    Deno.test("has steps", async (t) => {
      await t.step("broken", () => { throw new Error("no"); });
    });
  `);
  assert.deepEqual(countsOf(output, success), {
    passed: 1,
    failed: 2,
    skipped: 1,
    brokeOff: false,
  });
  assert.deepEqual(failuresIn(output), [
    "does not hold => ./own_test.ts:3:10",
    "has steps ... broken => ./own_test.ts:6:15",
  ]);
});

Deno.test("a file that cannot be loaded is named", async () => {
  const { output, success } = await ran(`throw new Error("at the top");`);
  assert.equal(countsOf(output, success).failed, 1);
  assert.deepEqual(failuresIn(output), ["./own_test.ts (uncaught error)"]);
});

Deno.test("a run that ends without a summary is one failure", () => {
  assert.deepEqual(countsOf("Killed\n", false), {
    passed: 0,
    failed: 1,
    skipped: 0,
    brokeOff: true,
  });
  assert.deepEqual(failuresIn("Killed\n"), []);
});
