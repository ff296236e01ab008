import assert from "node:assert/strict";
import { findLauncher, launch } from "./launch.ts";
import type { TaskUser } from "./user.ts";

/** What id(1) says of a process that was started as that user. */
async function identity(user: TaskUser, { withSetsid }: { withSetsid: boolean }) {
  const found = findLauncher();
  const launcher = withSetsid ? found : { ...found, setsid: undefined };
  const child = launch(launcher, {
    program: "/bin/sh",
    args: ["-c", "id -u; id -g; id -G; grep ^Gid: /proc/self/status"],
    env: { PATH: "/usr/bin:/bin" },
    folder: "/",
    isOwn: false,
    user,
  });
  const { stdout, stderr } = await child.output();
  assert.equal(new TextDecoder().decode(stderr), "");
  const [uid, gid, groups, gids] = new TextDecoder().decode(stdout).trim().split("\n");
  return { uid, gid, groups: groups?.split(" ").sort(), gids: gids?.split("\t").slice(1) };
}

Deno.test({
  name: "a task of another user has that user's groups, and none of the worker's",
  ignore: Deno.uid() !== 0 || Deno.build.os !== "linux",
  async fn() {
    // With further groups another program sets them; with the primary one alone Deno does.
    for (const groups of [[54322], [54322, 54323, 54324]]) {
      const ids = { uid: 54321, gid: 54322, groups };
      for (const withSetsid of [true, false]) {
        const found = await identity({ name: "other", home: "/", ids }, { withSetsid });
        assert.deepEqual(found, {
          uid: "54321",
          gid: "54322",
          groups: groups.map(String),
          gids: Array(4).fill("54322"),
        });
      }
    }
  },
});
