/** A process that leaves its session, group, parent and mark still belongs to its task. */
import assert from "node:assert/strict";
import { ownCgroup } from "../../src/runner/cgroups.ts";
import { signal } from "../../src/runner/leftover_processes.ts";
import { type Cluster, type ClusterWorker, startCluster } from "../support/cluster.ts";
import { component } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";

const cgroups = await component("cgroups of version 2", writable);

async function writable(): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return "Linux has them";
  const own = ownCgroup(
    await Deno.readTextFile("/proc/self/cgroup"),
    await Deno.readTextFile("/proc/self/mountinfo"),
  );
  if (own === undefined) return "not mounted";
  const probe = `${own}/agent-test-${Deno.pid}`;
  try {
    await Deno.mkdir(probe);
    await Deno.stat(`${probe}/cgroup.kill`).finally(() => Deno.remove(probe));
  } catch (error) {
    return String(error);
  }
}

/** Starts a process without any mark of its task, and writes its id to a file. */
function evader(file: string): string {
  const sleeper = `echo $$ >${file}.new; mv ${file}.new ${file}; exec sleep 1000`;
  return `setsid env -i PATH=$PATH sh -c '${sleeper}' </dev/null >/dev/null 2>&1 &`;
}

async function evaded(cluster: Cluster, name: string): Promise<number> {
  return await eventually(10_000, async () => {
    const pid = Number(await Deno.readTextFile(`${cluster.folder}/${name}`).catch(() => ""));
    return pid > 0 ? pid : undefined;
  });
}

async function isAlive(pid: number): Promise<boolean> {
  // Empty for a zombie.
  return await Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => "") !== "";
}

/** The cgroup folders of all starts of that worker. */
async function foldersOf(worker: ClusterWorker): Promise<string[]> {
  const own = ownCgroup(
    await Deno.readTextFile(`/proc/self/cgroup`),
    await Deno.readTextFile("/proc/self/mountinfo"),
  )!;
  const name = `agent-${await Deno.readTextFile(`${worker.dataDir}/mark`)}`;
  return (await Array.fromAsync(Deno.readDir(own))).map((entry) => `${own}/${entry.name}`)
    .filter((path) => path.startsWith(`${own}/${name}`));
}

async function cgroupOf(pid: number): Promise<string> {
  const text = await Deno.readTextFile(`/proc/${pid}/cgroup`);
  return /^0::(.*)$/m.exec(text)![1]!;
}

Deno.test({
  name: "an attempt ends with all processes that it started, and no others",
  ...cgroups,
  async fn() {
    await using cluster = await startCluster();
    const worker = await cluster.startWorker();
    const file = (name: string) => `${cluster.folder}/${name}`;
    const long = await cluster.submit(`${evader(file("long"))} sleep 600`);
    const stays = await evaded(cluster, "long");
    const short = await cluster.submit(
      `${evader(file("short"))} until test -e ${file("short")}; do sleep 0.1; done`,
    );
    const [task] = await cluster.finished(short);
    assert.equal(task!.state, "succeeded");
    assert.ok(!await isAlive(await evaded(cluster, "short")), "gone before the end was told");
    assert.ok(await isAlive(stays));
    assert.notEqual(await cgroupOf(stays), await cgroupOf(worker.role.pid));
    assert.notEqual(await cgroupOf(await worker.guardian()), await cgroupOf(stays));
    await cluster.tasks.cancelTask(long);
    await cluster.finished(long);
    assert.ok(!await isAlive(stays));
  },
});

Deno.test({
  name: "a process that loses its parent at once is still found in its attempt",
  ...cgroups,
  async fn() {
    await using cluster = await startCluster();
    await cluster.startWorker();
    // The shell has ended before anything could observe it.
    const count = 40;
    const own = `${cluster.folder}/$AGENT_ARRAY_INDEX`;
    const id = await cluster.submit(
      `(setsid env -i sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >${own})`,
      {},
      count,
    );
    await cluster.finished(id);
    for (let index = 1; index <= count; index++) {
      assert.ok(!await isAlive(await evaded(cluster, String(index))), `element ${index}`);
    }
  },
});

Deno.test({
  name:
    "when its worker is killed a task ends completely, with either guardian, and no cgroup stays",
  ...cgroups,
  async fn() {
    await using cluster = await startCluster();
    const worker = await cluster.startWorker();
    const id = await cluster.submit(`${evader(`${cluster.folder}/one`)} sleep 600`);
    const pid = await evaded(cluster, "one");
    await cluster.started(id);
    const first = await worker.guardian();
    Deno.kill(first, "SIGKILL");
    await eventually(10_000, async () => await worker.guardian() !== first);
    assert.ok(await isAlive(pid));
    assert.notEqual(await cgroupOf(await worker.guardian()), await cgroupOf(worker.role.pid));
    const isThere = async () => (await foldersOf(worker)).length > 0;
    assert.ok(await isThere());
    worker.role.kill();
    await worker.role.exit;
    await eventually(5_000, async () => !await isAlive(pid));
    await eventually(5_000, async () => !await isThere());
    await worker.restart();
    assert.ok(await isThere());
    await worker.role.stop();
    assert.ok(!await isThere());
  },
});

Deno.test({
  name: "the next start ends what a late guardian has not, and is not affected by it",
  ...cgroups,
  async fn() {
    await using cluster = await startCluster();
    const worker = await cluster.startWorker();
    const before = await cluster.submit(`${evader(`${cluster.folder}/before`)} sleep 600`);
    const left = await evaded(cluster, "before");
    await cluster.started(before);
    const late = await worker.guardian();
    Deno.kill(late, "SIGSTOP");
    try {
      await worker.restart();
      assert.ok(!await isAlive(left));
      await cluster.tasks.cancelTask(before);
      const id = await cluster.submit("sleep 600");
      await cluster.started(id);
      Deno.kill(late, "SIGCONT");
      await eventually(10_000, async () => !await isAlive(late));
      const first = await worker.guardian();
      Deno.kill(first, "SIGKILL");
      await eventually(10_000, async () => await worker.guardian() !== first);
      const [task] = await cluster.finished(await cluster.submit("true"));
      assert.equal(task!.state, "succeeded");
      const [long] = await cluster.tasks.getTask(id);
      assert.deepEqual(long!.attempts.map(({ state }) => state), ["running"]);
    } finally {
      signal(late, "SIGKILL");
    }
  },
});

Deno.test({
  name: "removed cgroups are replaced",
  ...cgroups,
  async fn() {
    await using cluster = await startCluster();
    const worker = await cluster.startWorker();
    await cluster.finished(await cluster.submit("true", {}, 20));
    let removed = 0;
    for (const folder of await foldersOf(worker)) {
      for await (const { name } of Deno.readDir(folder)) {
        if (!name.startsWith("task-")) continue;
        // The worker's own cgroup stays, because it is not empty.
        await Deno.remove(`${folder}/${name}`).then(() => removed++, () => {});
      }
    }
    assert.ok(removed > 0);
    // The worker tries the removed ones one after the other.
    await cluster.finished(await cluster.submit("true", {}, 20));
    const id = await cluster.submit(`${evader(`${cluster.folder}/after`)} sleep 600`);
    const pid = await evaded(cluster, "after");
    await cluster.tasks.cancelTask(id);
    await cluster.finished(id);
    assert.ok(!await isAlive(pid));
  },
});
