/** Without cgroups: what leaves its group, its parent and its mark is found as an orphan. */
import assert from "node:assert/strict";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { asRoot, component, programs } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";

const namespaces = await component("mount namespaces", asRoot, programs("unshare", "setsid"));

/** Starts a worker that sees no cgroups. */
const through = [
  ...["unshare", "-m", "sh", "-c"],
  'grep " - cgroup2 " /proc/self/mountinfo | cut -d" " -f5 | while read -r point; do ' +
  'umount -l "$point"; done; exec "$@"',
  "sh",
];

/** A process that nothing tells whose it is; its id is in the file. */
function orphan(file: string): string {
  const sleeper = `echo $$ >${file}.new; mv ${file}.new ${file}; exec sleep 1000`;
  return `setsid env -i PATH=$PATH sh -c '${sleeper}' </dev/null >/dev/null 2>&1 & ` +
    `until test -e ${file}; do sleep 0.05; done`;
}

async function pidIn(cluster: Cluster, name: string): Promise<number> {
  return await eventually(10_000, async () => {
    const text = await Deno.readTextFile(`${cluster.folder}/${name}`).catch(() => "");
    return Number(text) || undefined;
  });
}

/** Whether it runs: a zombie has no command line. */
async function runs(pid: number): Promise<boolean> {
  return await Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => "") !== "";
}

Deno.test({
  name: "an orphan ends when all tasks are over that ran when it was started",
  ...namespaces,
  async fn() {
    await using cluster = await startCluster();
    const worker = await cluster.startWorker({ through });
    await worker.role.said('"role":"worker"');
    const long = await cluster.submit("sleep 600");
    await cluster.started(long);
    await cluster.finished(await cluster.submit(orphan(`${cluster.folder}/one`)));
    const pid = await pidIn(cluster, "one");
    // Starts within 100 ms count as simultaneous.
    await new Promise((resolve) => setTimeout(resolve, 300));
    const later = await cluster.submit("sleep 600");
    await cluster.started(later);
    // Some looks: it could be the long task's.
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    assert.ok(await runs(pid));
    await cluster.tasks.cancelTask(long);
    await eventually(5_000, async () => !await runs(pid));
    const [task] = await cluster.tasks.getTask(later);
    assert.equal(task!.state, "running", "and one that began later goes on");
  },
});

Deno.test({
  name: "an orphan ends with its worker, by a guardian that came later",
  ...namespaces,
  async fn() {
    await using cluster = await startCluster();
    const worker = await cluster.startWorker({ through });
    const id = await cluster.submit(`${orphan(`${cluster.folder}/one`)}; sleep 600`);
    const pid = await pidIn(cluster, "one");
    await cluster.started(id);
    // A look, by which the guardian comes to know it.
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    const first = await worker.guardian();
    Deno.kill(first, "SIGKILL");
    await eventually(10_000, async () => await worker.guardian() !== first);
    await cluster.finished(await cluster.submit("true"));
    assert.ok(await runs(pid));
    worker.role.kill();
    await eventually(5_000, async () => !await runs(pid));
  },
});
