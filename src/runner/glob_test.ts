import assert from "node:assert/strict";
import { slowness } from "../../tests/support/eventually.ts";
import { fixedFolder, globMatcher, leavesFolder, normalizeGlob } from "./glob.ts";

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
    ["a?c", "a\u{1f600}c", true],
    ["[\u{1f600}-\u{1f610}]", "\u{1f605}", true],
    ["a/**/b", "a/b", true],
    ["a/**/b", "a/x/y/b", true],
    ["a/**/b", "a/xb", false],
    ["a**b", "ax/yb", true],
    ["[z-a]x", "-x", true],
    ["[z-a]x", "bx", false],
    ["a[]b]c", "a]c", true],
  ];
  for (const [glob, path, matches] of cases) {
    assert.equal(globMatcher(normalizeGlob(glob))(path), matches, `${glob} ${path}`);
  }
});

Deno.test("a random glob never fails, and a path matches itself", () => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  let state = seed;
  const random = (below: number) => (state = (state * 48271) % 2147483647) % below;
  const chars = "ab/.*?[]!-^$(){}|\\+";
  for (let n = 0; n < 3_000; n++) {
    const text = Array.from({ length: 1 + random(12) }, () => chars[random(chars.length)]).join("");
    try {
      globMatcher(text)("a/b");
      const plain = text.replaceAll(/[*?\[\]]/g, "x");
      assert.ok(globMatcher(plain)(plain));
    } catch (error) {
      throw new Error(`seed ${seed}, glob ${JSON.stringify(text)}`, { cause: error });
    }
  }
});

Deno.test("a glob of many stars takes no longer than its length and the path's ask for", () => {
  const name = "a".repeat(255);
  const path = Array.from({ length: 8 }, () => name).join("/");
  const before = performance.now();
  for (const stars of ["*a".repeat(100), "**/".repeat(100), "**a".repeat(100), "*".repeat(300)]) {
    assert.equal(globMatcher(`${stars}b`)(path), false);
  }
  // A regular expression has not ended after minutes.
  assert.ok(performance.now() - before < 5_000 * slowness());
});

Deno.test("where to look, and what would leave the folder", () => {
  assert.equal(fixedFolder("out/deep/*.txt"), "out/deep");
  assert.equal(fixedFolder("out/a.txt"), "out/a.txt");
  assert.equal(fixedFolder("*"), "");
  assert.equal(normalizeGlob("./a//./b/"), "a/b");
  for (const glob of ["/etc/x", "../x", "a/../b", ".."]) assert.ok(leavesFolder(glob), glob);
  for (const glob of ["a..b", "...", "a/.b"]) assert.ok(!leavesFolder(glob), glob);
});
