import assert from "node:assert/strict";
import { fixedFolder, globToRegExp, leavesFolder, normalizeGlob } from "./glob.ts";

Deno.test("globs match names, folders and what is below them", () => {
  const cases: [string, string, boolean][] = [
    ["out/*", "out/a", true],
    ["out/*", "out/a/b", true],
    ["out/*.txt", "out/a.txt", true],
    ["out/*.txt", "out/axtxt", false],
    ["*.txt", "out/a.txt", false],
    ["**/*.txt", "out/deep/a.txt", true],
    ["**/*.txt", "a.txt", true],
    ["**", "a/b", true],
    ["out", "out/a", true],
    ["out", "output/a", false],
    ["a?c", "abc", true],
    ["a?c", "a/c", false],
    ["[a-c].log", "b.log", true],
    ["[!a-c].log", "b.log", false],
    ["[!a]b", "/b", false],
    ["a[", "a[", true],
    ["a(b)+", "a(b)+", true],
    [".", "a", false],
  ];
  for (const [glob, path, matches] of cases) {
    assert.equal(globToRegExp(normalizeGlob(glob)).test(path), matches, `${glob} ${path}`);
  }
});

Deno.test("a random glob never fails to compile, and a path matches itself", () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  let state = seed;
  const random = (below: number) => (state = (state * 48271) % 2147483647) % below;
  const chars = "ab/.*?[]!-^$(){}|\\+";
  for (let n = 0; n < 3_000; n++) {
    const text = Array.from({ length: 1 + random(12) }, () => chars[random(chars.length)]).join("");
    try {
      globToRegExp(text).test("a/b");
      const plain = text.replaceAll(/[*?\[\]]/g, "x");
      assert.ok(globToRegExp(plain).test(plain));
    } catch (error) {
      throw new Error(`seed ${seed}, glob ${JSON.stringify(text)}`, { cause: error });
    }
  }
});

Deno.test("where to look, and what would leave the folder", () => {
  assert.equal(fixedFolder("out/deep/*.txt"), "out/deep");
  assert.equal(fixedFolder("out/a.txt"), "out/a.txt");
  assert.equal(fixedFolder("*"), "");
  assert.equal(normalizeGlob("./a//./b/"), "a/b");
  for (const glob of ["/etc/x", "../x", "a/../b", ".."]) assert.ok(leavesFolder(glob), glob);
  for (const glob of ["a..b", "...", "a/.b"]) assert.ok(!leavesFolder(glob), glob);
});
