/** What happens to tasks when a worker or its guardian fails. */
import assert from "node:assert/strict";
import { agent } from "../support/agent.ts";
import { overlaps, startCluster, tracedScript } from "../support/cluster.ts";
import { eventually } from "../support/eventually.ts";

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
