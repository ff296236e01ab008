import assert from "node:assert/strict";
import { tasksCanRead } from "./exposure.ts";
import { findEntry, type TaskUser } from "./user.ts";

Deno.test("whether tasks can read a file depends on their user and the folders above", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const file = `${folder}/inner/key`;
    await Deno.mkdir(`${folder}/inner`);
    await Deno.writeTextFile(file, "");
    const own: TaskUser = { name: "me", home: "/", ids: undefined };
    const other: TaskUser = {
      name: "other",
      home: "/",
      ids: { uid: 54321, gid: 54321, groups: [54321] },
    };
    const cases: [number, number, boolean][] = [
      [0o755, 0o644, true],
      [0o755, 0o600, false],
      [0o755, 0o640, false],
      [0o700, 0o644, false],
      [0o711, 0o644, true],
    ];
    await Deno.chmod(folder, 0o755);
    for (const [inner, mode, readable] of cases) {
      await Deno.chmod(file, mode);
      await Deno.chmod(`${folder}/inner`, inner);
      assert.equal(tasksCanRead(file, other), readable, `${inner.toString(8)} ${mode.toString(8)}`);
      assert.equal(tasksCanRead(file, own), true);
    }
    assert.equal(tasksCanRead(`${folder}/none`, own), false);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("users are found by name and number", () => {
  const text = "root:x:0:0:root:/root:/bin/sh\nbuild:x:1001:1002::/srv/build:/bin/sh\nbroken\n";
  const build = { name: "build", uid: 1001, gid: 1002, home: "/srv/build" };
  assert.deepEqual(findEntry(text, "build"), build);
  assert.deepEqual(findEntry(text, "1001"), build);
  assert.equal(findEntry(text, "broken"), undefined);
  assert.equal(findEntry(text, "2"), undefined);
});
