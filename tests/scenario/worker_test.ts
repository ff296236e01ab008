/** A worker without faults. */
import assert from "node:assert/strict";
import { agent } from "../support/agent.ts";
import { startCluster } from "../support/cluster.ts";
import { eventually, slowness } from "../support/eventually.ts";

Deno.test("two coordinators share a worker's slots evenly", async () => {
  await using one = await startCluster();
  await using two = await startCluster();
  const dial = `${one.coordinator.address},${two.coordinator.address}`;
  const { folder } = one;
  const script =
    `until test -e ${folder}/over.$AGENT_TASK_ID -o -e ${folder}/over; do sleep 0.05; done`;
  const ids = [await one.submit(script, {}, 12), await two.submit(script, {}, 12)] as const;
  await one.startWorker({ dial, slots: 4 });
  const told = new Set<string>();
  const running = async () =>
    await Promise.all([one, two].map(async ({ tasks }, at) => {
      const all = await tasks.getTask(ids[at]!);
      return all.filter(({ id, attempts }) => attempts.at(-1)?.state === "running" && !told.has(id))
        .map(({ id }) => id);
    }));
  /** Ends one of the coordinator that has more running, and returns how many each has then. */
  const step = async () => {
    const [more] = (await running()).toSorted((a, b) => b.length - a.length);
    told.add(more![0]!);
    await Deno.writeTextFile(`${folder}/over.${more![0]}`, "");
    return await full();
  };
  const full = () =>
    eventually(20_000, async () => {
      const counts = (await running()).map(({ length }) => length);
      return counts[0]! + counts[1]! === 4 && String(counts);
    });
  // The first coordinator may have all slots during one task, and has half of them after that.
  let counts = await full();
  for (let ended = 0; ended < 4 && counts !== "2,2"; ended++) counts = await step();
  for (let ended = 0; ended < 4; ended++) {
    assert.equal(counts, "2,2");
    counts = await step();
  }
  await Deno.writeTextFile(`${folder}/over`, "");
  const all = await Promise.all([one.finished(ids[0]), two.finished(ids[1])]);
  for (const { attempts, state } of all.flat()) {
    assert.equal(state, "succeeded");
    assert.equal(attempts.length, 1);
  }
});

Deno.test("a worker is ready before its coordinator, and works as soon as that is up", async () => {
  await using cluster = await startCluster();
  await cluster.coordinator.stop();
  const worker = await cluster.startWorker();
  assert.match(worker.role.stderr(), /"msg":"ready".*"role":"worker"/);
  await cluster.restartCoordinator();
  const [task] = await cluster.finished(await cluster.submit("true"));
  assert.equal(task!.state, "succeeded");
  assert.equal(worker.role.stderr().match(/"msg":"ready"/g)?.length, 1);
});

Deno.test("tasks that wait behind long ones move to another worker", async () => {
  await using cluster = await startCluster();
  await cluster.startWorker({ id: "w1", slots: 2 });
  // So that it asks for more tasks than it has slots.
  await cluster.finished(await cluster.submit("true", {}, 60));
  const long = await cluster.submit("sleep 30", {}, 2);
  const short = await cluster.submit("true", {}, 20);
  await cluster.startWorker({ id: "w2", slots: 2 });
  for (const { attempts } of await cluster.finished(short, 10_000)) {
    assert.equal(attempts.at(-1)!.state, "succeeded");
  }
  await cluster.tasks.cancelTask(long);
});

Deno.test("a stopping worker logs no warning", async () => {
  await using cluster = await startCluster();
  const { role } = await cluster.startWorker();
  await cluster.finished(await cluster.submit("true"));
  // On a busy machine it may have had a reason to warn before.
  const before = role.stderr().length;
  assert.equal((await role.stop()).code, 0);
  assert.doesNotMatch(role.stderr().slice(before), /warn|error/);
});

Deno.test("the second signal ends a worker and its tasks at once", async () => {
  await using cluster = await startCluster();
  const worker = await cluster.startWorker();
  await cluster.started(await cluster.submit("trap '' TERM; sleep 600 & wait"));
  worker.role.kill("SIGTERM");
  await worker.role.said("waiting for running tasks");
  const before = performance.now();
  worker.role.kill("SIGTERM");
  assert.equal((await worker.role.exit).code, 143);
  // A stop in order waits that long before it ends them.
  assert.ok(performance.now() - before < 5_000 * slowness());
  await eventually(5_000, async () => (await worker.processes()).length === 0);
});

Deno.test({
  name: "tasks run as worker.user",
  ignore: Deno.uid() !== 0,
  async fn() {
    await using cluster = await startCluster();
    const user = ["--worker.user=nobody"];
    const hidden = cluster.startWorker({ args: user });
    await assert.rejects(hidden, /"nobody" \(worker\.user\) cannot reach .*\n.*--worker\.data-dir/);
    await Deno.chmod(`${cluster.folder}/..`, 0o711);
    const worker = await cluster.startWorker({ args: user });
    const id = await cluster.submit(
      `id -un; stat -c %U:%a .; cat ${worker.dataDir}/mark; ls ${worker.dataDir}/spool; echo x > y`,
      { artifacts: ["y"] },
    );
    const [task] = await cluster.finished(id);
    const output = { stdout: "", stderr: "" };
    for await (
      const { stream, data } of cluster.tasks.readLog({ taskId: id }, AbortSignal.timeout(60_000))
    ) output[stream] += new TextDecoder().decode(data);
    assert.equal(output.stdout, "nobody\nnobody:700\n");
    assert.equal(output.stderr.match(/Permission denied/g)?.length, 2);
    assert.equal(task!.state, "succeeded");
    assert.equal((await cluster.tasks.listArtifacts(id)).length, 1);
    const endless = await cluster.submit("setsid sleep 600 & sleep 601");
    await cluster.started(endless);
    await cluster.tasks.cancelTask(endless);
    assert.equal((await cluster.finished(endless))[0]!.state, "cancelled");
    assert.deepEqual(await worker.processes(), []);
  },
});

Deno.test({
  name: "a full disk fails the tasks that need it, and the worker continues",
  ignore: Deno.uid() !== 0,
  async fn() {
    await using cluster = await startCluster();
    const disk = `${cluster.folder}/disk`;
    await Deno.mkdir(disk);
    const mount = (...args: string[]) =>
      new Deno.Command(args[0]!, { args: args.slice(1) }).output();
    const mounted = await mount("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk);
    assert.ok(mounted.success, "mount a tmpfs");
    try {
      const worker = await cluster.startWorker({ dataDir: disk });
      const full = await cluster.submit("head -c 2000000 /dev/zero > y", { artifacts: ["y"] });
      const [failed] = await cluster.finished(full);
      assert.equal(failed!.state, "failed");
      // Half of the disk, because it is copied.
      const copied = await cluster.submit("head -c 700000 /dev/zero > y", { artifacts: ["y"] });
      const [task] = await cluster.finished(copied);
      assert.match(
        task!.attempts[0]!.reason ?? "",
        /"y" was left out: (No space left|the worker has no space)/,
      );
      const [after] = await cluster.finished(await cluster.submit("true"));
      assert.equal(after!.state, "succeeded");
      await worker.role.stop();
    } finally {
      await mount("umount", "-l", disk);
    }
  },
});

Deno.test("a worker without a usable setting says what to do", async () => {
  const cases: [string[], RegExp][] = [
    [
      ["--worker.user=no-such-user"],
      /"no-such-user" \(worker\.user\) does not exist[^]*next: useradd/,
    ],
    [["--worker.data-dir=/proc/nowhere"], /"\/proc\/nowhere"[^]*next: .*--worker\.data-dir/],
  ];
  for (const [args, said] of cases) {
    const { code, stderr } = await agent.run(["worker", "--worker.health-port=0", ...args]);
    assert.equal(code, 1);
    assert.match(stderr, said);
  }
});

Deno.test("file names of a task cannot block its result or other results", async () => {
  await using cluster = await startCluster();
  await cluster.startWorker();
  const odd = await cluster.submit(`touch "$(printf 'a\\nb')" 'c\\d'`, { artifacts: ["*"] });
  assert.equal((await cluster.finished(odd))[0]!.state, "succeeded");
  const [next] = await cluster.finished(await cluster.submit("true"));
  assert.equal(next!.state, "succeeded");
});

Deno.test("a task starts in an empty folder, whatever names earlier tasks used", async () => {
  await using cluster = await startCluster();
  await cluster.startWorker();
  // Invalid UTF-8.
  await cluster.finished(await cluster.submit(`touch "$(printf 'a\\377')"`, {}, 8));
  // Often enough for folders to be reused.
  for (let turn = 0; turn < 5; turn++) {
    for (const { attempts } of await cluster.finished(await cluster.submit("ls -A", {}, 8))) {
      assert.equal(attempts[0]!.stdoutBytes, 0);
    }
  }
});
