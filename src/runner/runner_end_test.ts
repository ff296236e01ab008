/** How tasks end: by order, by time, with their lease, with the worker or its guardian. */
import { exists } from "../base/fs/atomic_file.ts";
import assert from "node:assert/strict";
import { join } from "node:path";
import { systemClock } from "../base/clock.ts";
import { openWorkerDirectory } from "./folders.ts";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import { attemptVariable, findLeftoverProcesses, signal } from "./leftover_processes.ts";
import { findTaskUser } from "./user.ts";
import { startRunner } from "../../tests/support/runner.ts";

Deno.test("a task that is told to end may clean up, and is killed after its grace", async () => {
  await using t = await startRunner();
  const polite = t.start(["sh", "-c", "trap 'echo bye; exit 0' TERM; echo up; sleep 60 & wait"]);
  const stubborn = t.start(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 60; done"]);
  const asleep = t.start(["sh", "-c", "trap 'exit 7' TERM; echo $$; kill -STOP $$; exit 1"]);
  await t.until(() => t.output(polite) && t.output(stubborn) ? true : undefined);
  await t.until(() => isStopped(Number(t.output(asleep))) || undefined);
  t.obey({ kind: "end", key: asleep, cause: "cancelled", graceMs: 5_000 });
  t.obey({ kind: "end", key: polite, cause: "cancelled", graceMs: 5_000 });
  t.obey({ kind: "end", key: stubborn, cause: "cancelled", graceMs: 200 });
  const [first, second] = [await t.exited(polite), await t.exited(stubborn)];
  assert.equal(first.cause, "cancelled");
  assert.equal(t.output(polite), "up\nbye\n");
  assert.equal(second.signal, "SIGKILL");
  assert.equal((await t.exited(asleep)).exitCode, 7, "a stopped task is woken to hear of it");
  assert.deepEqual(await findLeftoverProcesses(t.mark), []);
});

Deno.test("a task that takes too long is ended", async () => {
  await using t = await startRunner();
  const ended = await t.exited(t.start(["sleep", "60"], { timeoutMs: 100 }));
  assert.equal(ended.cause, "timed_out");
  assert.equal(ended.signal, "SIGTERM");
});

/** Goes on when another process has left the group; before, that would end with the group. */
const leavesGroup = "mkfifo gone; setsid sh -c 'echo >gone; exec sleep 61' >/dev/null 2>&1 & " +
  "read _ <gone";

Deno.test("a process that holds no pipe and left its group is ended soon after its task", async () => {
  await using t = await startRunner();
  // As an orphan it could be this one's.
  const other = t.start(["sh", "-c", "echo up; sleep 60"]);
  await t.until(() => t.output(other) || undefined);
  const key = t.start(["sh", "-c", leavesGroup]);
  assert.equal((await t.exited(key)).exitCode, 0);
  // The task has succeeded, so only the next look ends it.
  await t.until(async () => {
    const left = await findLeftoverProcesses(t.mark);
    return left.some((found) => found.key.endsWith(key)) ? undefined : true;
  });
  assert.ok(!t.reports.some((it) => it.kind === "exited" && it.key === other));
});

Deno.test("no task finds what a process of another one wrote after its end", async () => {
  await using t = await startRunner();
  // Over before the next look, so that no look finds it.
  const late = "setsid sh -c 'sleep 0.2; touch late' >/dev/null 2>&1 &";
  for (let round = 0; round < 3; round++) {
    for (const _ of Array(4)) await t.exited(t.start(["sh", "-c", late]));
    // Folders are used again after a look.
    for (const _ of Array(24)) {
      const key = t.start(["ls", "-A"]);
      await t.exited(key);
      assert.equal(t.output(key), "");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
});

Deno.test("nothing is left behind, in the group or out of it", async () => {
  await using t = await startRunner();
  const script = `sleep 60 & setsid sleep 62 & ${leavesGroup}`;
  const succeeded = t.start(["sh", "-c", script]);
  assert.equal((await t.exited(succeeded)).exitCode, 0);
  await t.until(async () => (await findLeftoverProcesses(t.mark)).length === 0 ? true : undefined);
  const failed = t.start(["sh", "-c", `${script}; exit 1`]);
  assert.equal((await t.exited(failed)).exitCode, 1);
  assert.deepEqual(await findLeftoverProcesses(t.mark), []);
  // What has cleared its environment is known by its group.
  const unmarked = t.start(["sh", "-c", "env -i sleep 63 >/dev/null 2>&1 & echo $!"]);
  assert.equal((await t.exited(unmarked)).exitCode, 0);
  const pid = Number(t.output(unmarked));
  assert.ok(pid > 0);
  await t.until(() => alive(pid) ? undefined : true);
});

Deno.test("a task that is ended by a real-time signal leaves nothing behind, and its number", async () => {
  await using t = await startRunner();
  const key = t.start(["bash", "-c", "sleep 600 & echo $!; kill -40 $$"]);
  assert.equal((await t.exited(key)).exitCode, 168);
  const pid = Number(t.output(key));
  assert.ok(pid > 0 && !alive(pid));
});

Deno.test("attempts end at once when their lease runs out", async () => {
  await using t = await startRunner();
  const other = t.start(["sleep", "60"], { lease: "d" });
  assert.equal((await t.exited(other)).cause, "lost");
  const key = t.start(["sh", "-c", "trap '' TERM; setsid sleep 61 & sleep 60"]);
  await t.until(() => t.reports.find((it) => it.kind === "started"));
  t.renew(200);
  const ended = await t.exited(key);
  assert.equal(ended.cause, "lost");
  assert.deepEqual(await findLeftoverProcesses(t.mark), []);
});

Deno.test("a lease that is lost during the grace of a cancel ends the attempt at once", async () => {
  await using t = await startRunner();
  const key = t.start(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 60; done"]);
  await t.until(() => t.output(key) || undefined);
  t.obey({ kind: "end", key, cause: "cancelled", graceMs: 60_000 });
  t.renew(200);
  const ended = await t.exited(key);
  assert.equal(ended.cause, "lost");
  assert.equal(ended.signal, "SIGKILL");
});

Deno.test("no process is started while there is no guardian", async () => {
  const gate = Promise.withResolvers<void>();
  let isShut = false;
  // A guardian that has ended is replaced after at most 20 ms; rounds and graces wait for longer.
  const sleep: typeof systemClock.sleep = async (ms, signal) => {
    if (isShut && ms <= 20) await gate.promise;
    await systemClock.sleep(ms, signal);
  };
  await using t = await startRunner({ clock: { ...systemClock, sleep } });
  isShut = true;
  signal(t.runner.guardianPid!, "SIGKILL");
  await t.until(() => t.runner.guardianPid === undefined || undefined);
  const key = t.start(["sh", "-c", "echo ran"]);
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.deepEqual(t.reports, []);
  gate.resolve();
  assert.equal((await t.exited(key)).exitCode, 0);
  assert.notEqual(t.runner.guardianPid, undefined);
});

Deno.test("a lease counts from when it was sent, whatever the order took to arrive", async () => {
  await using t = await startRunner();
  t.obey({ kind: "renew", lease: "d", forMs: 5_000, sentAt: Date.now() - 5_001 });
  assert.equal((await t.exited(t.start(["true"], { lease: "d" }))).cause, "lost");
  t.obey({ kind: "renew", lease: "d", forMs: 60_000, sentAt: Date.now() - 5_001 });
  assert.equal((await t.exited(t.start(["true"], { lease: "d" }))).cause, "exit");
});

Deno.test("a worker that was stopped ends what it ran, though its leases would hold", async () => {
  let aheadMs = 0;
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + aheadMs };
  await using t = await startRunner({ clock });
  const key = t.start(["sleep", "60"]);
  await t.until(() => t.reports.find((it) => it.kind === "started"));
  aheadMs = 3_500;
  const ended = await t.exited(key);
  assert.equal(ended.cause, "lost");
  assert.match(ended.reason!, /the worker was stopped/);
});

Deno.test("a guardian that is killed or stopped is replaced", async () => {
  await using t = await startRunner();
  const key = t.start(["sleep", "60"]);
  await t.until(() => t.reports.find((it) => it.kind === "started"));
  for (const name of ["SIGKILL", "SIGSTOP"] as const) {
    const first = t.runner.guardianPid!;
    signal(first, name);
    await t.until(() =>
      ![undefined, first].includes(t.runner.guardianPid) && !alive(first) ? true : undefined
    );
  }
  const after = t.start(["true"]);
  assert.equal((await t.exited(after)).exitCode, 0);
  assert.ok(!t.reports.some((it) => it.kind === "exited" && it.key === key));
});

Deno.test("a guardian that stands still is replaced before it would act", async () => {
  // Time as the runner sees it stands still short of a guardian's silence of 4 s.
  const since = systemClock.monotonic();
  let aheadMs = 0;
  await using t = await startRunner({
    clock: { ...systemClock, monotonic: () => since + aheadMs },
  });
  const first = t.runner.guardianPid!;
  signal(first, "SIGSTOP");
  await t.until(() => isStopped(first) || undefined);
  // What it said before has been heard when the output of a later process has.
  assert.equal((await t.exited(t.start(["true"]))).exitCode, 0);
  await t.until(() => {
    aheadMs = Math.min(aheadMs + 100, 3_900);
    return ![undefined, first].includes(t.runner.guardianPid) ? true : undefined;
  });
});

Deno.test("processes of an earlier start are ended before any task is, in the group or out of it", async () => {
  await using folder = await temporaryFolder();
  const opened = await openWorkerDirectory(folder.path, await findTaskUser(undefined));
  opened[Symbol.dispose]();
  const { mark } = opened;
  const sleeper = (value: string) =>
    new Deno.Command("sleep", {
      args: ["600"],
      detached: true,
      env: { [attemptVariable]: value },
    }).spawn();
  const former = sleeper(`${mark}.00000000.t1.7.1.1`);
  const other = sleeper(`${mark}0.00000000.t1.7.1.1`);
  try {
    await using t = await startRunner({ path: folder.path });
    assert.equal(alive(former.pid), false);
    assert.equal(alive(other.pid), true, "another worker's");
    assert.equal((await t.exited(t.start(["true"]))).exitCode, 0);
  } finally {
    for (const { pid } of [former, other]) signal(pid, "SIGKILL");
    await Promise.all([former.status, other.status]);
  }
});

Deno.test("what an earlier start left is removed, but for files that are still to be sent", async () => {
  const path = await Deno.makeTempDir({ prefix: "agent-runner-" });
  try {
    (await openWorkerDirectory(path, await findTaskUser(undefined)))[Symbol.dispose]();
    for (const left of ["work/1/deep", "artifacts/t1.7.1.1", "artifacts/t1.7.1.2"]) {
      await Deno.mkdir(join(path, left), { recursive: true });
      await Deno.writeTextFile(join(path, left, "file"), "x");
    }
    await Deno.writeTextFile(join(path, "spool/t1.7.1.2.json"), "{}");
    await using runner = await startRunner({ path });
    await runner.until(() => exists(join(path, "work/1")) ? undefined : true);
    assert.ok(!exists(join(path, "artifacts/t1.7.1.1")));
    assert.ok(exists(join(path, "artifacts/t1.7.1.2/file")));
  } finally {
    await Deno.remove(path, { recursive: true });
  }
});

Deno.test({
  name: "what cannot be removed keeps no worker from starting, nor its tasks",
  ignore: Deno.uid() !== 0 || Deno.build.os !== "linux",
  async fn() {
    const path = await Deno.makeTempDir({ prefix: "agent-runner-" });
    (await openWorkerDirectory(path, await findTaskUser(undefined)))[Symbol.dispose]();
    const mount = join(path, "work/1");
    await Deno.mkdir(mount);
    const run = (command: string, ...args: string[]) =>
      new Deno.Command(command, { args }).output();
    assert.ok((await run("mount", "-t", "tmpfs", "tmpfs", mount)).success);
    try {
      await using t = await startRunner({ path });
      assert.equal((await t.exited(t.start(["true"]))).exitCode, 0);
    } finally {
      await run("umount", "-l", mount);
      await Deno.remove(path, { recursive: true });
    }
  },
});

function isStopped(pid: number): boolean {
  return pid > 0 && /^State:\s+T/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
}

function alive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
