/** What a task inherits, and what a role makes of what it inherited. */
import assert from "node:assert/strict";
import { agent } from "../support/agent.ts";
import { type Cluster, startCluster } from "../support/cluster.ts";
import { asRoot, component, programs } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";
import { tempHome } from "../support/home.ts";

const ignoring = await component("env(1) that sets signals", async () => {
  const { success } = await new Deno.Command("env", { args: ["--ignore-signal=USR1", "true"] })
    .output();
  return success ? undefined : "GNU coreutils 8.31 has it";
});
const namespaces = await component("mount namespaces", asRoot, programs("unshare", "mount"));
const pidNamespaces = await component("pid namespaces", asRoot, async () => {
  const { success } = await new Deno.Command("unshare", {
    args: ["-pf", "--mount-proc", "true"],
  }).output();
  return success ? undefined : "not permitted";
});

/** What a task writes to standard output. */
async function outputOf(cluster: Cluster, id: string): Promise<string> {
  await cluster.finished(id);
  let text = "";
  const pieces = cluster.tasks.readLog({ taskId: id }, AbortSignal.timeout(60_000));
  for await (const { stream, data } of pieces) {
    if (stream === "stdout") text += new TextDecoder().decode(data);
  }
  return text;
}

Deno.test({
  name: "a task starts in a clean state whatever the worker inherited",
  ...ignoring,
  async fn() {
    await using cluster = await startCluster();
    const inherited = "umask 077; echo 200 >/proc/self/oom_score_adj; " +
      'exec env --ignore-signal=USR1,QUIT,CHLD,RTMIN "$@" 7</etc/passwd 9</etc';
    await cluster.startWorker({ through: ["sh", "-c", inherited, "sh"] });
    const id = await cluster.submit(
      "echo /proc/self/fd/*; grep SigIgn /proc/self/status; umask; cat /proc/self/oom_score_adj; " +
        "exit 7",
    );
    const lines = (await outputOf(cluster, id)).split("\n");
    // The shell opens one to list them.
    assert.match(lines[0]!, /^(\/proc\/self\/fd\/[0123] ?)+$/);
    // 32 and 33 belong to the C library.
    const ignored = BigInt("0x" + lines[1]!.split("\t")[1]);
    assert.equal(ignored & ~0x180000000n, 0n, String(lines[1]));
    assert.deepEqual(lines.slice(2, 4), ["0022", Deno.uid() === 0 ? "0" : lines[3]]);
    // With SIGCHLD ignored there would be no exit code.
    assert.equal((await cluster.tasks.getTask(id))[0]!.attempts[0]!.exitCode, 7);
  },
});

Deno.test({
  name: "a task has all groups of its user, and sees no file with the worker's rights",
  ...namespaces,
  async fn() {
    await using cluster = await startCluster();
    await Deno.chmod(`${cluster.folder}/..`, 0o711);
    const groups = `${cluster.folder}/group`;
    await Deno.writeTextFile(
      groups,
      await Deno.readTextFile("/etc/group") + "gpu:x:54242:nobody\n",
    );
    const mounted = `mount --bind ${groups} /etc/group && exec "$@"`;
    await cluster.startWorker({
      args: ["--worker.user=nobody"],
      through: ["unshare", "-m", "sh", "-c", mounted, "sh"],
    });
    const own = (await outputOf(cluster, await cluster.submit("id -u; id -g; id -G"))).split("\n");
    const gid = (await new Deno.Command("id", { args: ["-g", "nobody"] }).output()).stdout;
    assert.equal(own[0], "65534");
    assert.equal(own[1], new TextDecoder().decode(gid).trim());
    assert.deepEqual(own[2]!.split(" ").sort(), [own[1], "54242"].sort());
    const elsewhere = await cluster.submit("pwd; id -G", { cwd: "/usr" });
    assert.equal(await outputOf(cluster, elsewhere), `/usr\n${own[2]}\n`);
    const hidden = `${cluster.folder}/hidden`;
    await Deno.mkdir(hidden, { mode: 0o700 });
    await Deno.writeTextFile(`${hidden}/there`, "#!/bin/sh\n", { mode: 0o755 });
    await Deno.mkdir(`${hidden}/folder`);
    for (const [spec, there] of [["there", "absent"], ["folder", "none"]] as const) {
      const reasons = await Promise.all([spec, there].map(async (name) => {
        const path = `${hidden}/${name}`;
        const how = spec === "folder" ? { argv: ["true"], cwd: path } : { argv: [path] };
        const [task] = await cluster.finished(await cluster.submit("", how));
        assert.equal(task!.state, "failed");
        return (task!.attempts[0]!.reason ?? "").replace(name, "X");
      }));
      assert.match(reasons[0]!, /"nobody" may not enter/);
      assert.equal(reasons[0], reasons[1], "whether it exists is not told");
    }
  },
});

Deno.test("a role that is hung up stops as when it is told to, and says so", async () => {
  await using cluster = await startCluster();
  const worker = await cluster.startWorker();
  const id = await cluster.submit("sleep 2; echo over");
  await cluster.started(id);
  // A terminal that is closed sends two.
  worker.role.kill("SIGHUP");
  await worker.role.said(/stop requested.*SIGHUP/);
  worker.role.kill("SIGHUP");
  assert.deepEqual(await worker.role.exit, { code: 0, signal: null });
  const [task] = await cluster.finished(id);
  assert.equal(task!.state, "succeeded");
  cluster.coordinator.kill("SIGHUP");
  assert.deepEqual(await cluster.coordinator.exit, { code: 0, signal: null });
});

Deno.test({
  name: "a role that nohup started goes on when it is hung up, and its tasks do not ignore it",
  ...ignoring,
  async fn() {
    await using home = await tempHome();
    const through = ["env", "--ignore-signal=HUP"];
    const anywhere = ["--coordinator.port=0", "--coordinator.health-port=0"];
    await using coordinator = await agent.start("coordinator", anywhere, { home, through });
    await using cluster = await startCluster();
    const worker = await cluster.startWorker({ through });
    const id = await cluster.submit("grep SigIgn /proc/self/status; sleep 3; echo lived");
    await cluster.started(id);
    for (const role of [coordinator, worker.role]) role.kill("SIGHUP");
    assert.match(await outputOf(cluster, id), /^SigIgn:\t0+(1?80000000)?\nlived\n$/);
    for (const role of [coordinator, worker.role]) {
      assert.doesNotMatch(role.stderr(), /stop requested/);
      assert.equal((await role.stop()).code, 0);
    }
  },
});

/** Processes in a pid namespace, by its PID 1, that have ended and that nobody has reaped. */
async function zombies(first: number): Promise<string[]> {
  const { stdout } = await new Deno.Command("nsenter", {
    args: ["-t", String(first), "-p", "-m", "sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null"],
  }).output();
  return new TextDecoder().decode(stdout).split("\n").filter((line) => /\) Z 1 /.test(line));
}

async function childOf(pid: number): Promise<number> {
  return await eventually(10_000, async () => {
    const text = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`);
    return Number(text.split(" ")[0]) || undefined;
  });
}

Deno.test({
  name: "a role that is PID 1 reaps orphans",
  ...pidNamespaces,
  async fn() {
    await using cluster = await startCluster();
    const through = ["unshare", "-pf", "--mount-proc", "--kill-child"];
    const worker = await cluster.startWorker({ through });
    const orphans = "for i in 1 2 3 4 5; do (sleep 0.1 &); done";
    assert.equal((await cluster.finished(await cluster.submit(orphans)))[0]!.state, "succeeded");
    await using home = await tempHome();
    const anywhere = ["--coordinator.port=0", "--coordinator.health-port=0"];
    await using coordinator = await agent.start("coordinator", anywhere, { home, through });
    for (const { pid } of [worker.role, coordinator]) {
      const first = await childOf(pid);
      const args = ["-t", String(first), "-p", "-m", "sh", "-c", orphans];
      assert.ok((await new Deno.Command("nsenter", { args }).output()).success);
      await new Promise((resolve) => setTimeout(resolve, 300));
      await eventually(5_000, async () => (await zombies(first)).length === 0);
    }
    // unshare(1) does not pass on a SIGTERM.
    for (const role of [worker.role, coordinator]) {
      role.kill();
      await role.exit;
    }
  },
});
