import assert from "node:assert/strict";
import { TaskError } from "../../src/tasks/service.ts";
import type { StateEntry } from "../../src/tasks/task.ts";
import { asking } from "./fake_coordinator.ts";

Deno.test("state stores any bytes, and a conflict prints the current revision", async () => {
  const values = new Map<string, StateEntry>();
  const tooMany = new TaskError("exhausted", "too many for one answer");
  await using coordinator = await asking({
    getState: (_, key) => Promise.resolve(values.get(key)!),
    putState(namespace, key, value, ifRevision) {
      const revision = values.get(key)?.revision ?? 0;
      if (ifRevision !== undefined && ifRevision !== revision) {
        return Promise.reject(new TaskError("conflict", "another was first", revision));
      }
      const entry = { namespace, key, value, revision: revision + 1, updatedAt: 0 };
      values.set(key, entry);
      return Promise.resolve(entry);
    },
    deleteState: () => Promise.resolve({ revision: 9 }),
    listState: (namespace) =>
      namespace === "ns" ? Promise.resolve([...values.values()]) : Promise.reject(tooMany),
  });
  const { run } = coordinator;
  assert.equal((await run("state put ns text hello --if-revision 0")).stdout, "1\n");
  const stdin = new Uint8Array([0, 1, 255, 10]);
  assert.equal((await run("state put ns bytes -", { stdin })).stdout, "1\n");
  assert.deepEqual([...(await run("state get ns bytes")).bytes], [...stdin]);
  assert.equal((await run("state get ns text")).stdout, "hello");
  assert.equal(
    JSON.parse((await run("state get ns bytes --json")).stdout).value_base64,
    "AAH/Cg==",
  );

  const conflict = await run("state put ns text again --if-revision 7");
  assert.deepEqual([conflict.code, conflict.stdout], [1, "1\n"]);
  assert.match(conflict.stderr, /Another was first\n.*--if-revision 1/);
  assert.match(
    (await run("state list ns")).stdout,
    /\ntext +1 +\S+ +hello\nbytes +1 +\S+ +\(4 B\)\n$/,
  );
  assert.equal((await run("state delete ns text")).stdout, "9\n");
  const large = await run("state list large");
  assert.match(large.stderr, /Too many .*\n +next: agent state list large --prefix P\n$/);
});
