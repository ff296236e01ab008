import assert from "node:assert/strict";
import { openCoordinatorStorage } from "../../src/store/coordinator.ts";
import { lineStream } from "../support/lines.ts";

/** Enough kills to interrupt commits, checkpoints and lines at any place. */
const rounds = 4;
const victim = new URL("../support/engine_victim.ts", import.meta.url);

Deno.test("acknowledged changes survive kill -9, and no finished task runs again", async () => {
  const folder = await Deno.makeTempDir({ prefix: "agent-kill-" });
  try {
    const submitted = new Set<string>();
    const finished = new Map<string, number>();
    let revision = 0;
    for (let round = 0; round < rounds; round++) {
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "--no-check", "-A", victim.href, folder],
        stdout: "piped",
        stderr: "inherit",
        stdin: "null",
      }).spawn();
      let lines = 0;
      const wanted = 150 + round * 97;
      for await (const line of child.stdout.pipeThrough(lineStream())) {
        if (lines++ === wanted) child.kill("SIGKILL");
        const [what, id, fence] = line.split(" ") as [string, string, string];
        if (what === "submitted") submitted.add(id);
        if (what === "state") revision = Number(id);
        if (what !== "finished") continue;
        assert.ok(!finished.has(id), `${id} was finished twice`);
        finished.set(id, Number(fence));
      }
      assert.equal((await child.status).signal, "SIGKILL");
      const { store } = openCoordinatorStorage(folder);
      using _closed = store;
      for (const id of submitted) assert.ok(store.task(id), `${id} is gone`);
      for (const [id, fence] of finished) {
        const task = store.task(id);
        assert.equal(task!.state, "succeeded", `${id} has come back`);
        assert.equal(task!.attempts.at(-1)!.fence, fence);
      }
      assert.ok((store.state("ns", "k")?.revision ?? 0) >= revision);
      const { nextFence, nextSeq } = store.recover();
      assert.ok(nextFence > Math.max(0, ...finished.values()));
      assert.ok(nextSeq > submitted.size);
    }
    assert.ok(submitted.size > 100 && finished.size > 20 && revision > 20);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
