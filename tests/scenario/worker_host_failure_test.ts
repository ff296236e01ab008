/** A failure of a worker's host is not a failure of the tasks. */
import assert from "node:assert/strict";
import { startCluster } from "../support/cluster.ts";
import { asRoot, component, programs } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";

const tmpfs = await component("a small file system", asRoot, programs("mount"));

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

async function run(...line: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(line[0]!, { args: line.slice(1) }).output();
  assert.ok(success, `${line.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

Deno.test({
  name: "a worker without an inode left hands tasks back, takes no more, and recovers by itself",
  ...tmpfs,
  async fn() {
    await using cluster = await startCluster();
    const disk = `${cluster.folder}/disk`;
    await Deno.mkdir(disk);
    await run("mount", "-t", "tmpfs", "-o", "nr_inodes=40", "tmpfs", disk);
    try {
      const healthPort = freePort();
      const args = ["--worker.labels=host=w1"];
      const first = await cluster.startWorker({ id: "w1", dataDir: disk, healthPort, args });
      const ready = async () => {
        const answer = await fetch(`http://127.0.0.1:${healthPort}/readyz`);
        await answer.body?.cancel();
        return answer.status;
      };
      assert.equal(await ready(), 200);
      for (let count = 0;; count++) {
        try {
          await Deno.writeTextFile(`${disk}/fill${count}`, "");
        } catch {
          break;
        }
      }
      const id = await cluster.submit("true", { retries: 0 }, 30);
      const troubleOf = async () =>
        (await cluster.tasks.listWorkers()).find((worker) => worker.id === "w1")?.trouble;
      await eventually(10_000, async () => /No space left/.test(await troubleOf() ?? ""));
      await eventually(5_000, async () => await ready() === 503);
      await first.role.said("cannot start tasks, taking no work");
      for (const { state } of await cluster.tasks.getTask(id)) assert.equal(state, "queued");
      await cluster.startWorker({ id: "w2" });
      for (const { state, attempts } of await cluster.finished(id)) {
        assert.equal(state, "succeeded");
        assert.deepEqual(attempts.map(({ workerId }) => workerId), ["w2"]);
      }
      for await (const { name } of Deno.readDir(disk)) {
        if (name.startsWith("fill")) await Deno.remove(`${disk}/${name}`);
      }
      // Tests come at 1, 2, 4 s and so on.
      await eventually(30_000, async () => await troubleOf() === undefined);
      assert.equal(await ready(), 200);
      const [task] = await cluster.finished(
        await cluster.submit("true", { selector: { host: "w1" } }),
      );
      assert.equal(task!.state, "succeeded");
      await first.role.stop();
    } finally {
      await run("umount", "-l", disk);
    }
  },
});
