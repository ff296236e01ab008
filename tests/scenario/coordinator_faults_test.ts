/** What happens to tasks when their coordinator, or the network to it, fails or stands still. */
import assert from "node:assert/strict";
import { overlaps, startCluster, tracedScript } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { forward } from "../support/forwarder.ts";

/** `coordinator.lost_after`: the least that is allowed. */
const leaseMs = 10_000;
const shortLease = { coordinator: [`--coordinator.lost-after=${leaseMs}ms`] };

/** A line that waits until the test lets the task go on. */
const untilGo = (folder: string) => `until test -e ${folder}/go; do sleep 0.05; done`;
const letGo = (folder: string) => Deno.writeTextFile(`${folder}/go`, "");

Deno.test("what ended while the coordinator was stopped is not lost, and does not run again", async () => {
  await using cluster = await startCluster(shortLease);
  const worker = await cluster.startWorker();
  const { folder } = cluster;
  const id = await cluster.submit(`${untilGo(folder)}; echo ran >> ${folder}/runs`);
  await cluster.started(id);
  cluster.coordinator.kill("SIGSTOP");
  const stoppedAt = performance.now();
  try {
    await letGo(folder);
    await eventually(10_000, async () => (await worker.processes()).length === 0);
    // Past the lease, by the clocks of both.
    await new Promise((resolve) =>
      setTimeout(resolve, leaseMs + 1_500 - (performance.now() - stoppedAt))
    );
  } finally {
    cluster.coordinator.kill("SIGCONT");
  }
  await cluster.coordinator.said("leases are prolonged");
  const [task] = await cluster.finished(id);
  assert.deepEqual(task!.attempts.map(({ state }) => state), ["succeeded"]);
  assert.equal(await Deno.readTextFile(`${folder}/runs`), "ran\n");
});

Deno.test("a restart of the coordinator does not disturb tasks", async () => {
  await using cluster = await startCluster();
  await cluster.startWorker();
  const { folder } = cluster;
  const id = await cluster.submit(`echo one; ${untilGo(folder)}; echo two`);
  await cluster.started(id);
  await cluster.restartCoordinator();
  await letGo(folder);
  const [task] = await cluster.finished(id);
  assert.deepEqual(task!.attempts.map(({ state }) => state), ["succeeded"]);
  let output = "";
  const log = cluster.tasks.readLog({ taskId: id }, AbortSignal.timeout(60_000));
  for await (const { data } of log) output += new TextDecoder().decode(data);
  assert.equal(output, "one\ntwo\n");
});

Deno.test("a coordinator that stops in order may be away for longer than a lease", async () => {
  await using cluster = await startCluster(shortLease);
  await cluster.startWorker();
  const id = await cluster.submit(untilGo(cluster.folder));
  await cluster.started(id);
  await cluster.coordinator.stop();
  // Of a coordinator that is just away, the worker would have ended it by then.
  await new Promise((resolve) => setTimeout(resolve, leaseMs));
  await cluster.restartCoordinator();
  await letGo(cluster.folder);
  const [task] = await cluster.finished(id);
  assert.deepEqual(task!.attempts.map(({ state }) => state), ["succeeded"]);
});

Deno.test("no task runs twice at once after its coordinator was away", async () => {
  await using cluster = await startCluster();
  await cluster.startWorker();
  const { folder } = cluster;
  const count = 400;
  const id = await cluster.submit(
    `echo $AGENT_TASK_ID >> ${folder}/runs; echo out; echo err >&2`,
    {},
    count,
  );
  const runs = async () => {
    const text = await Deno.readTextFile(`${folder}/runs`).catch(() => "");
    return text.trim().split("\n");
  };
  for (const how of ["stop", "kill", "stop", "kill"] as const) {
    const before = (await runs()).length;
    await eventually(20_000, async () => (await runs()).length >= Math.min(before + 30, count));
    await cluster.restartCoordinator(how);
  }
  for (const { state, attempts } of await cluster.finished(id)) {
    assert.equal(state, "succeeded");
    assert.equal(attempts.at(-1)!.stdoutBytes, 4);
    assert.equal(attempts.at(-1)!.stderrBytes, 4);
  }
  const all = await runs();
  assert.equal(new Set(all).size, count);
  assert.equal(all.length, count);
});

Deno.test("a short network failure does not disturb tasks", async () => {
  await using cluster = await startCluster();
  await using network = await forward(portOf(cluster.coordinator.address));
  const worker = await cluster.startWorker({ dial: network.address });
  const id = await cluster.submit(`echo one; ${untilGo(cluster.folder)}; echo two`);
  await cluster.started(id);
  network.pointTo(1);
  network.cut();
  await letGo(cluster.folder);
  await eventually(10_000, async () => (await worker.processes()).length === 0);
  network.pointTo(portOf(cluster.coordinator.address));
  const [task] = await cluster.finished(id);
  assert.deepEqual(task!.attempts.map(({ state }) => state), ["succeeded"]);
  assert.equal(task!.attempts[0]!.stdoutBytes, 8);
});

Deno.test("a task's own lease outlives the others of a worker that is out of touch, or ends before them", async () => {
  await using cluster = await startCluster({ coordinator: ["--coordinator.lost-after=12s"] });
  await using network = await forward(portOf(cluster.coordinator.address));
  await cluster.startWorker({ dial: network.address, slots: 4 });
  const line = `echo $$ > ${cluster.folder}/$AGENT_TASK_ID; ${untilGo(cluster.folder)}`;
  const submit = (lostAfterMs?: number) =>
    cluster.submit(line, {
      noRequeue: true,
      ...(lostAfterMs === undefined ? {} : { lostAfterMs }),
    });
  const ids = [await submit(), await submit(10_000), await submit(60_000), await submit(0)];
  for (const id of ids) await cluster.started(id);
  network.pointTo(1);
  network.cut();
  // The coordinator gives up on two, whose processes the worker has ended by then.
  const states = () =>
    Promise.all(ids.map(async (id) => (await cluster.tasks.getTask(id))[0]!.state));
  await eventually(20_000, async () => (await states()).join() === "lost,lost,running,running");
  const runs = (id: string) =>
    Deno.stat(`/proc/${Deno.readTextFileSync(`${cluster.folder}/${id}`).trim()}`)
      .then(() => true, () => false);
  assert.deepEqual(await Promise.all(ids.map(runs)), [false, false, true, true]);
  network.pointTo(portOf(cluster.coordinator.address));
  await letGo(cluster.folder);
  for (const id of ids) await cluster.finished(id);
  assert.deepEqual(await states(), ["lost", "lost", "succeeded", "succeeded"]);
});

Deno.test("a disconnected worker ends its tasks before another worker gets them", async () => {
  await using cluster = await startCluster(shortLease);
  await using network = await forward(portOf(cluster.coordinator.address));
  const first = await cluster.startWorker({ id: "w1", dial: network.address });
  const id = await cluster.submit(tracedScript(cluster.folder, 400));
  await cluster.started(id);
  await cluster.startWorker({ id: "w2" });
  network.pointTo(1);
  network.cut();
  await eventually(20_000, async () => {
    const [task] = await cluster.tasks.getTask(id);
    return task!.attempts.length > 1;
  });
  assert.deepEqual(await first.processes(), []);
  await cluster.tasks.cancelTask(id);
  const [task] = await cluster.finished(id);
  assert.deepEqual(task!.attempts.map(({ state }) => state), ["lost", "cancelled"]);
  assert.deepEqual(await overlaps(cluster.folder), []);
});

Deno.test("an undelivered result survives a restart of the worker", async () => {
  await using cluster = await startCluster();
  const worker = await cluster.startWorker();
  const id = await cluster.submit(
    `echo ran >> ${cluster.folder}/runs; mkdir out; echo x > out/y; ${untilGo(cluster.folder)}; ` +
      "echo over",
    { artifacts: ["out/*"] },
  );
  await cluster.started(id);
  cluster.coordinator.kill("SIGSTOP");
  try {
    await letGo(cluster.folder);
    await eventually(15_000, async () => {
      for await (const { name } of Deno.readDir(`${worker.dataDir}/spool`)) {
        if (name.endsWith(".json")) return true;
      }
      return false;
    });
    worker.role.kill();
    await worker.role.exit;
  } finally {
    cluster.coordinator.kill("SIGCONT");
  }
  await worker.restart();
  const [task] = await cluster.finished(id);
  assert.deepEqual(task!.attempts.map(({ state }) => state), ["succeeded"]);
  assert.equal(await Deno.readTextFile(`${cluster.folder}/runs`), "ran\n");
  assert.equal((await cluster.tasks.listArtifacts(id)).length, 1);
  // Delivered output uses no space any more.
  await eventually(5_000, () => {
    const kept = ["spool", "artifacts"].flatMap((folder) => [
      ...Deno.readDirSync(`${worker.dataDir}/${folder}`),
    ]);
    return Promise.resolve(kept.length === 0);
  });
});

Deno.test("a coordinator that a worker knows by two names does not reassign running tasks", async () => {
  await using cluster = await startCluster();
  const { address } = cluster.coordinator;
  const dial = `${address},localhost:${portOf(address)}`;
  const worker = await cluster.startWorker({ dial });
  const id = await cluster.submit(untilGo(cluster.folder));
  await cluster.started(id);
  await worker.role.said("name each coordinator once");
  await letGo(cluster.folder);
  const [task] = await cluster.finished(id);
  assert.deepEqual(task!.attempts.map(({ state }) => state), ["succeeded"]);
});

function portOf(address: string): number {
  return Number(address.split(":").at(-1));
}
