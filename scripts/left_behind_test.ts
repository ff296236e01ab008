import assert from "node:assert/strict";
import { leftBehind, runVariable } from "./left_behind.ts";

Deno.test({
  name: "a process that a test has left behind is found, until it ends",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const run = crypto.randomUUID();
    assert.deepEqual(await leftBehind(run, 0), []);
    const child = new Deno.Command("sleep", { args: ["60"], env: { [runVariable]: run } }).spawn();
    assert.match((await leftBehind(run, 0)).join(), new RegExp(`^${child.pid} \\S*sleep 60$`));
    child.kill("SIGKILL");
    await child.status;
    assert.deepEqual(await leftBehind(run, 0), []);
  },
});
