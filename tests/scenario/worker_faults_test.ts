/** What happens to tasks when a worker, its guardian, its coordinator or the network fails. */
import assert from "node:assert/strict";
import { agent } from "../support/agent.ts";
import { overlaps, startCluster, tracedScript } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";
import { forward } from "../support/forwarder.ts";

Deno.test("when a worker is killed its tasks end completely, and run again", async () => {
  await using cluster = await startCluster();
  const worker = await cluster.startWorker();
  const flag = `${cluster.folder}/second`;
  const id = await cluster.submit(
    `test -e ${flag} && exit 0; touch ${flag}; setsid sleep 600 & sleep 601`,
  );
  await cluster.started(id);
  await eventually(5_000, async () => (await worker.processes()).length >= 3);
  worker.role.kill();
  await worker.role.exit;
  await eventually(5_000, async () => (await worker.processes()).length === 0);
  await worker.restart();
  const [task] = await cluster.finished(id);
  assert.equal(task!.state, "succeeded");
  assert.deepEqual(task!.attempts.map(({ state }) => state), ["lost", "succeeded"]);
});

Deno.test("when worker and guardian are killed together, the next start ends what they ran", async () => {
  await using cluster = await startCluster();
  const worker = await cluster.startWorker();
  const flag = `${cluster.folder}/second`;
  const id = await cluster.submit(
    `test -e ${flag} && exit 0; touch ${flag}; setsid sleep 600 & sleep 601`,
  );
  await cluster.started(id);
  await eventually(5_000, async () => (await worker.processes()).length >= 3);
  const guardian = await worker.guardian();
  // Stopped first: a guardian acts as soon as its worker is gone.
  Deno.kill(guardian, "SIGSTOP");
  worker.role.kill();
  Deno.kill(guardian, "SIGKILL");
  await worker.role.exit;
  const left = await worker.processes();
  assert.ok(left.length >= 3);
  await worker.restart();
  const still = await worker.processes();
  assert.deepEqual(left.filter((pid) => still.includes(pid)), []);
  const [task] = await cluster.finished(id);
  assert.deepEqual(task!.attempts.map(({ state }) => state), ["lost", "succeeded"]);
});

Deno.test("a killed or stopped guardian is replaced, and its tasks continue", async () => {
  await using cluster = await startCluster();
  const worker = await cluster.startWorker();
  const id = await cluster.submit("sleep 600");
  await cluster.started(id);
  // Without the mark in its environment only its group shows its owner.
  const file = `${cluster.folder}/pid`;
  await cluster.submit(`echo $$ >${file}.new; mv ${file}.new ${file}; exec env -i sleep 601`);
  const unmarked = await eventually(10_000, async () => {
    const pid = Number(await Deno.readTextFile(file).catch(() => ""));
    return pid > 0 && await commandOf(pid) === "sleep 601" ? pid : undefined;
  });
  for (const signal of ["SIGKILL", "SIGSTOP"] as const) {
    const first = await worker.guardian();
    Deno.kill(first, signal);
    await eventually(10_000, async () => await worker.guardian() !== first);
  }
  assert.equal((await worker.processes()).length, 2);
  assert.equal(await commandOf(unmarked), "sleep 601");
  worker.role.kill();
  await eventually(5_000, async () => (await worker.processes()).length === 0);
  await eventually(5_000, async () => await commandOf(unmarked) === "");
});

/** Empty for a process that has ended, or for a zombie. */
async function commandOf(pid: number): Promise<string> {
  const text = await Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => "");
  return text.replaceAll("\0", " ").trim();
}

Deno.test("a worker that was stopped has lost its tasks, and none ran twice at once", async () => {
  await using cluster = await startCluster();
  const worker = await cluster.startWorker();
  // The first run would take 60 s, so that it does not end by itself.
  const flag = `${cluster.folder}/second`;
  const [long, short] = [1_200, 10].map((lines) => tracedScript(cluster.folder, lines));
  const id = await cluster.submit(
    `if test -e ${flag}; then ${short}; exit; fi; touch ${flag}; ${long}`,
  );
  await cluster.started(id);
  assert.notEqual((await worker.processes()).length, 0);
  worker.role.kill("SIGSTOP");
  try {
    // The guardian ends it, before the lease of 15 s is over.
    await eventually(10_000, async () => (await worker.processes()).length === 0);
  } finally {
    worker.role.kill("SIGCONT");
  }
  const [task] = await cluster.finished(id);
  assert.equal(task!.state, "succeeded");
  assert.deepEqual(task!.attempts.map(({ state }) => state), ["lost", "succeeded"]);
  assert.deepEqual(await overlaps(cluster.folder), []);
});

Deno.test("a restart of the coordinator does not disturb tasks", async () => {
  await using cluster = await startCluster();
  await cluster.startWorker();
  const id = await cluster.submit("echo one; sleep 3; echo two");
  await cluster.started(id);
  await cluster.restartCoordinator();
  const [task] = await cluster.finished(id);
  assert.deepEqual(task!.attempts.map(({ state }) => state), ["succeeded"]);
  let output = "";
  const log = cluster.tasks.readLog({ taskId: id }, AbortSignal.timeout(10_000));
  for await (const { data } of log) output += new TextDecoder().decode(data);
  assert.equal(output, "one\ntwo\n");
});

Deno.test("a coordinator that stops in order may be away for longer than a lease", async () => {
  await using cluster = await startCluster();
  await cluster.startWorker();
  const id = await cluster.submit("sleep 16; echo over");
  await cluster.started(id);
  await cluster.coordinator.stop();
  // The worker would have ended it after 11 s.
  await new Promise((resolve) => setTimeout(resolve, 13_000));
  await cluster.restartCoordinator();
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
  await cluster.startWorker({ dial: network.address });
  const id = await cluster.submit("echo one; sleep 4; echo two");
  await cluster.started(id);
  network.pointTo(1);
  network.cut();
  await new Promise((resolve) => setTimeout(resolve, 5_000));
  network.pointTo(portOf(cluster.coordinator.address));
  const [task] = await cluster.finished(id);
  assert.deepEqual(task!.attempts.map(({ state }) => state), ["succeeded"]);
  assert.equal(task!.attempts[0]!.stdoutBytes, 8);
});

Deno.test("a disconnected worker ends its tasks before another worker gets them", async () => {
  await using cluster = await startCluster();
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

Deno.test("a task that starts processes as fast as it can leaves none when its worker is killed", async () => {
  await using cluster = await startCluster();
  const worker = await cluster.startWorker();
  const id = await cluster.submit(
    "for i in $(seq 300); do setsid sh -c 'sleep 600' & sleep 0.01; done; wait",
  );
  await cluster.started(id);
  await eventually(10_000, async () => (await worker.processes()).length > 20);
  worker.role.kill();
  await eventually(10_000, async () => (await worker.processes()).length === 0);
  // Nothing follows it.
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.deepEqual(await worker.processes(), []);
});

Deno.test("a data folder belongs to one worker", async () => {
  await using cluster = await startCluster();
  const first = await cluster.startWorker();
  const second = await agent.run([
    "worker",
    `--worker.data-dir=${first.dataDir}`,
    `--worker.coordinators=${cluster.coordinator.address}`,
    "--worker.health-port=0",
  ]);
  assert.equal(second.code, 1);
  assert.match(second.stderr, /in use by another worker[^]*next: .*--worker\.id/);
});

Deno.test("an undelivered result survives a restart of the worker", async () => {
  await using cluster = await startCluster();
  const worker = await cluster.startWorker();
  const id = await cluster.submit(
    `echo ran >> ${cluster.folder}/runs; mkdir out; echo x > out/y; sleep 1; echo over`,
    { artifacts: ["out/*"] },
  );
  await cluster.started(id);
  cluster.coordinator.kill("SIGSTOP");
  try {
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
  const id = await cluster.submit("sleep 3; echo over");
  await cluster.started(id);
  await worker.role.said("name each coordinator once");
  const [task] = await cluster.finished(id);
  assert.deepEqual(task!.attempts.map(({ state }) => state), ["succeeded"]);
});

Deno.test("a stopping worker hands over its running tasks", async () => {
  await using cluster = await startCluster();
  const first = await cluster.startWorker({ id: "w1" });
  const flag = `${cluster.folder}/second`;
  const id = await cluster.submit(`test -e ${flag} && exit 0; touch ${flag}; sleep 600`);
  await cluster.started(id);
  await cluster.startWorker({ id: "w2" });
  assert.equal((await first.role.stop()).code, 0);
  const [task] = await cluster.finished(id, 5_000);
  assert.deepEqual(task!.attempts.map(({ workerId }) => workerId), ["w1", "w2"]);
  assert.deepEqual(await first.processes(), []);
});

function portOf(address: string): number {
  return Number(address.split(":").at(-1));
}

Deno.test("100 tasks survive kills at random moments", async () => {
  const seed = Number(Deno.env.get("TEST_SEED") ?? Math.floor(Math.random() * 2 ** 31));
  let state = seed || 1;
  const random = (below: number) => (state = (state * 48271) % 2147483647) % below;
  try {
    await using cluster = await startCluster();
    const workers = [
      await cluster.startWorker({ id: "w1" }),
      await cluster.startWorker({ id: "w2" }),
    ];
    const id = await cluster.submit(tracedScript(cluster.folder, 8), {}, 100);
    for (let kill = 0; kill < 8; kill++) {
      await new Promise((resolve) => setTimeout(resolve, random(1_500)));
      const worker = workers[random(2)]!;
      switch (random(3)) {
        case 0:
          await worker.restart();
          break;
        case 1:
          Deno.kill(await worker.guardian(), "SIGKILL");
          break;
        case 2:
          await cluster.restartCoordinator();
      }
    }
    const tasks = await cluster.finished(id, 120_000);
    assert.equal(tasks.length, 100);
    for (const { state, attempts } of tasks) {
      assert.equal(state, "succeeded");
      assert.equal(attempts.filter((attempt) => attempt.state === "succeeded").length, 1);
      assert.equal(attempts.at(-1)!.state, "succeeded");
    }
    assert.deepEqual(await overlaps(cluster.folder), []);
    for (const worker of workers) {
      await eventually(10_000, async () => (await worker.processes()).length === 0);
    }
  } catch (error) {
    throw new Error(`With TEST_SEED=${seed}`, { cause: error });
  }
});
