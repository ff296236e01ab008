import { exists } from "../base/fs/atomic_file.ts";
import assert from "node:assert/strict";
import { join } from "node:path";
import { systemClock } from "../base/clock.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import {
  attemptKey,
  type Order,
  outputWindowBytes,
  type Report,
  type StartOrder,
} from "../tasks/orders.ts";
import { validateOrder } from "./access_check.ts";
import { openWorkerDirectory } from "./folders.ts";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import { attemptVariable, findLeftoverProcesses, signal } from "./leftover_processes.ts";
import { Runner } from "./runner.ts";
import type { RunnerOptions } from "./runner_options.ts";
import { findTaskUser } from "./user.ts";

const taskFilesCommand = {
  command: Deno.execPath(),
  args: [
    "eval",
    "--no-config",
    `import { serveTaskFiles } from "${new URL("./task_files_process.ts", import.meta.url)}";
    serveTaskFiles(Deno.args[0]);`,
  ],
};

type Exited = Extract<Report, { kind: "exited" }>;

/** A runner of its own, whose output is taken at once. */
async function startRunner(
  options: Partial<RunnerOptions> & { hungry?: boolean; path?: string } = {},
) {
  const open = new AsyncDisposableStack();
  const path = options.path ?? await Deno.makeTempDir({ prefix: "agent-runner-" });
  if (options.path === undefined) open.defer(() => Deno.remove(path, { recursive: true }));
  const user = await findTaskUser(undefined);
  const folder = open.use(await openWorkerDirectory(path, user));
  const reports: Report[] = [];
  let heard = () => {};
  const runner: Runner = open.use(
    await Runner.start({
      folder,
      user,
      // They are of the whole process, which other tests use as well: see tests/scenario.
      cgroups: undefined,
      // The tests of other files run in this process, and have children of their own.
      endsOrphans: false,
      allowed: undefined,
      allowedVariables: new Set(),
      guardian: { command: "/nonexistent", args: [] },
      taskFiles: taskFilesCommand,
      clock: systemClock,
      log: silentLog,
      bounds: { guardianMs: 4_000, windowBytes: outputWindowBytes, maxArtifacts: 100 },
      variable: (name) => name === "LANG" ? "C" : undefined,
      report: (batch) => {
        reports.push(...structuredClone(batch.filter(({ kind }) => kind !== "alive")));
        for (const report of batch) {
          if (report.kind !== "output" || options.hungry === false) continue;
          const { key, stream, data } = report;
          runner.obey({ kind: "taken", key, stream, bytes: data.length });
        }
        heard();
      },
      ...options,
    }),
  );
  const renew = (forMs = 60_000) =>
    runner.obey({ kind: "renew", lease: "c", forMs, sentAt: Date.now() });
  renew();
  let fence = 0;
  const until = async <R>(
    find: () => R | undefined | Promise<R | undefined>,
    withinMs = 15_000,
  ): Promise<R> => {
    const end = performance.now() + withinMs;
    while (true) {
      const found = await find();
      if (found !== undefined) return found;
      if (performance.now() > end) throw new Error(`not within ${withinMs} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 50);
        heard = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  };
  return {
    runner,
    folder,
    reports,
    renew,
    until,
    obey: (order: Order) => runner.obey(order),
    start(argv: string[], rest: Partial<StartOrder> = {}): string {
      const key = attemptKey({ taskId: "t1.7", attempt: 1, fence: ++fence });
      const empty = { arrayIndex: undefined, cwd: undefined, timeoutMs: undefined };
      const order = { kind: "start", key, lease: "c", taskId: "t1", argv, env: {}, artifacts: [] };
      runner.obey({ ...order, ...empty, ...rest });
      return key;
    },
    exited: (key: string) =>
      until(() => reports.find((it): it is Exited => it.kind === "exited" && it.key === key)),
    output(key: string, stream = "stdout"): string {
      const parts = reports.flatMap((it) =>
        it.kind === "output" && it.key === key && it.stream === stream ? [...it.data] : []
      );
      return new TextDecoder().decode(new Uint8Array(parts));
    },
    mark: `${folder.mark}.`,
    [Symbol.asyncDispose]: () => open.disposeAsync(),
  };
}

Deno.test("a task's outputs are kept apart and its exit code is reported", async () => {
  await using t = await startRunner();
  const key = t.start(["sh", "-c", "echo out; echo err >&2; exit 3"]);
  const ended = await t.exited(key);
  assert.equal(ended.exitCode, 3);
  assert.equal(ended.cause, "exit");
  assert.equal(t.output(key), "out\n");
  assert.equal(t.output(key, "stderr"), "err\n");
  assert.deepEqual(t.reports.map((it) => it.kind)[0], "started");
});

Deno.test("a task sees a clean environment, an empty input and a folder of its own", async () => {
  await using t = await startRunner();
  const key = t.start(["sh", "-c", "env; pwd; cat"], {
    env: { MINE: "1", AGENT_ATTEMPT: "forged", HOME: "/tmp" },
    arrayIndex: 7,
  });
  const ended = await t.exited(key);
  assert.equal(ended.exitCode, 0);
  const lines = t.output(key).trim().split("\n");
  const folder = join(t.folder.work, "1");
  assert.deepEqual(
    lines.map((line) => line.split("=")[0]).filter((name) => name !== "_").sort(),
    [
      ...["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "MINE", "AGENT_TASK_ID", "PWD"],
      ...["AGENT_ATTEMPT", "AGENT_ARRAY_INDEX", folder],
      ...(lines.some((line) => line.startsWith("OLDPWD")) ? ["OLDPWD"] : []),
    ].sort(),
  );
  assert.ok(lines.includes(`AGENT_ATTEMPT=${t.mark}${t.runner.instance}.${key}`));
  assert.ok(lines.includes("AGENT_ARRAY_INDEX=7"));
  assert.ok(lines.includes("HOME=/tmp"));
});

Deno.test("text of tasks is UTF-8 where the worker has no locale of its own", async () => {
  for (const [own, wanted] of [[{}, "C.UTF-8 "], [{ LANG: "de_DE" }, " de_DE"]] as const) {
    await using t = await startRunner({
      variable: (name) => (own as Record<string, string>)[name],
    });
    const key = t.start(["sh", "-c", 'echo "$LC_CTYPE $LANG"']);
    await t.exited(key);
    assert.equal(t.output(key), `${wanted}\n`);
  }
});

Deno.test("no task finds anything in its folder", async () => {
  await using t = await startRunner();
  const scripts = [
    "touch x",
    "ls -A",
    "chmod 755 .",
    "stat -c %a .",
    "rmdir $PWD",
    "mkdir -p a/b; chmod 0 a",
    "ls -A",
  ];
  for (const script of scripts) {
    const key = t.start(["sh", "-c", script]);
    assert.equal((await t.exited(key)).exitCode, 0);
    assert.match(t.output(key), /^(700\n)?$/);
    // Long enough for a look, after which folders are used again.
    if (script.startsWith("chmod")) await new Promise((resolve) => setTimeout(resolve, 1_500));
  }
});

Deno.test("what cannot be started says why, with the exit codes of a shell", async () => {
  await using t = await startRunner();
  const cases: [string[], Partial<StartOrder>, number | undefined, RegExp][] = [
    [["no-such-program"], {}, 127, /"no-such-program" was not found on the worker in PATH/],
    [["/no/such"], {}, 127, /"\/no\/such" does not exist/],
    [["/etc/passwd"], {}, 126, /is not executable/],
    [["/etc"], {}, 126, /is not a file/],
    [["true"], { cwd: "/no/such/folder" }, undefined, /"\/no\/such\/folder" does not exist/],
    [["true"], { env: { PATH: "/nowhere" } }, 127, /PATH "\/nowhere"/],
    [["true"], { lease: "unknown" }, undefined, /lease ran out/],
  ];
  for (const [argv, rest, exitCode, reason] of cases) {
    const ended = await t.exited(t.start(argv, rest));
    assert.match(ended.reason ?? "", reason);
    assert.equal(ended.exitCode, exitCode);
    assert.equal(ended.startedAt, undefined);
  }
});

Deno.test("a file whose interpreter is missing is told from one that is missing", async () => {
  await using t = await startRunner();
  const file = async (name: string, content: string | Uint8Array) => {
    const path = join(t.folder.artifacts, name);
    if (typeof content === "string") await Deno.writeTextFile(path, content);
    else await Deno.writeFile(path, content);
    await Deno.chmod(path, 0o755);
    return path;
  };
  // A program as of another C library: its loader's path has one letter changed.
  const other = await Deno.readFile("/bin/true");
  const at = new TextDecoder("latin1").decode(other).search(/\/lib[\w/.-]*ld-linux/);
  other[at + 1] = 0x78;
  const cases: [string, number, RegExp][] = [
    [
      await file("script", "#!  /no/such/interpreter -x\n"),
      127,
      /needs .*"\/no\/such\/interpreter"/,
    ],
    [await file("windows", "#!/bin/sh\r\necho\r\n"), 127, /CR LF.*"\/bin\/sh\\r"/],
    [await file("program", other), 127, /needs the interpreter "\/xib[\w/.-]*ld-linux/],
  ];
  for (const [path, exitCode, reason] of cases) {
    const ended = await t.exited(t.start([path]));
    assert.match(ended.reason ?? "", reason);
    assert.ok(ended.reason!.includes(path));
    assert.equal(ended.exitCode, exitCode);
  }
  const plain = await file("plain", "echo hi\n");
  const key = t.start([plain]);
  assert.equal((await t.exited(key)).exitCode, 0, "without a first line it is the shell's");
});

/** What the dynamic loader and the C library read, from ld.so(8), environ(7) and dyld(1). */
const loaderVariables = [
  ...["AUDIT", "BIND_NOT", "BIND_NOW", "CONFIG", "DEBUG", "DEBUG_OUTPUT", "DYNAMIC_WEAK"],
  ...["HWCAP_MASK", "LIBRARY_PATH", "ORIGIN_PATH", "POINTER_GUARD", "PREFER_MAP_32BIT_EXEC"],
  ...["PRELOAD", "PROFILE", "PROFILE_OUTPUT", "SHOW_AUXV", "TRACE_LOADED_OBJECTS"],
  ...["TRACE_PRELINKING", "USE_LOAD_BIAS", "VERBOSE", "WARN", "ASSUME_KERNEL"],
].map((name) => `LD_${name}`).concat(
  ["GCONV_PATH", "GETCONF_DIR", "GLIBC_TUNABLES", "HOSTALIASES", "LOCALDOMAIN", "LOCPATH"],
  ["MALLOC_TRACE", "NIS_PATH", "NLSPATH", "RESOLV_HOST_CONF", "RES_OPTIONS", "TMPDIR", "TZDIR"],
  ["DYLD_INSERT_LIBRARIES", "DYLD_LIBRARY_PATH", "DYLD_FRAMEWORK_PATH"],
);

const shellVariables = ["BASH_ENV", "ENV", "IFS", "SHELLOPTS", "PS4", "BASH_FUNC_ls%%"];

Deno.test("only allowed programs start, by their real path", async () => {
  const sh = Deno.realPathSync("/bin/sh");
  const allowedVariables = new Set(["MINE"]);
  await using t = await startRunner({ allowed: new Set([sh]), allowedVariables });
  assert.equal((await t.exited(t.start(["sh", "-c", "exit 0"]))).exitCode, 0);
  const refused = await t.exited(t.start(["env"]));
  assert.match(refused.reason!, /may not start "\/usr\/bin\/env"/);
  for (const name of [...loaderVariables, ...shellVariables, "PATH", "HOME"]) {
    const odd = await t.exited(t.start(["sh", "-c", "exit 0"], { env: { [name]: "/tmp" } }));
    assert.ok(odd.reason!.includes(`refuses the variable "${name}"`), name);
    assert.match(odd.reason!, /worker\.allow_env/);
  }
  const named = t.start(["sh", "-c", "echo $MINE"], { env: { MINE: "yes" } });
  assert.equal((await t.exited(named)).exitCode, 0);
  assert.equal(t.output(named), "yes\n");
  // A link may lead elsewhere by the time of the start.
  const link = join(t.folder.work, "link");
  await Deno.symlink(sh, link);
  const linked = t.start([link, "-c", "echo $0"]);
  assert.equal((await t.exited(linked)).exitCode, 0);
  assert.equal(t.output(linked), `${sh}\n`);
});

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

Deno.test("a task whose output nobody takes waits, and no more than the window is sent", async () => {
  await using t = await startRunner({ hungry: false });
  const key = t.start(["head", "-c", "8000000", "/dev/zero"]);
  const sent = () =>
    t.reports.reduce((sum, it) => sum + (it.kind === "output" ? it.data.length : 0), 0);
  await t.until(() => sent() >= 1024 * 1024 ? true : undefined);
  let taken = 0;
  while (!t.reports.some((it) => it.kind === "exited")) {
    assert.ok(sent() - taken <= 1024 * 1024 + 64 * 1024);
    const bytes = sent() - taken;
    taken += bytes;
    t.obey({ kind: "taken", key, stream: "stdout", bytes });
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert.equal(sent(), 8_000_000);
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

Deno.test("artifacts are collected, and no link is followed", async () => {
  await using t = await startRunner();
  const script = `mkdir -p out/deep; echo one > out/a.txt; echo two > out/deep/b.txt
    echo other > ../x; ln -s /etc/passwd out/link; ln -s /etc out/folder; mkfifo out/pipe; chmod 750 out/a.txt`;
  const artifacts = ["out/**", "none*", "../x", "out/link", "out/folder/passwd", "out/pipe"];
  const key = t.start(["sh", "-c", script], { artifacts });
  const ended = await t.exited(key);
  assert.equal(ended.collects, true);
  const collected = await t.until(() =>
    t.reports.find((it): it is Extract<Report, { kind: "collected" }> => it.kind === "collected")
  );
  assert.deepEqual(collected.files.map((it) => [it.path, it.size, it.mode.toString(8)]), [
    ["out/a.txt", 4, "750"],
    ["out/deep/b.txt", 4, "644"],
  ]);
  assert.equal(Deno.readTextFileSync(collected.files[1]!.file), "two\n");
  for (const glob of ["none*", "../x", "out/link", "out/folder/passwd", "out/pipe"]) {
    assert.ok(collected.notes.some((note) => note.includes(glob)), glob);
  }
  t.obey({ kind: "forget", key });
  await t.until(() => exists(join(t.folder.artifacts, key)) ? undefined : true);
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

Deno.test("malformed orders do nothing", async () => {
  await using t = await startRunner();
  const running = t.start(["sleep", "60"]);
  const beside = join(t.folder.artifacts, "../beside");
  await Deno.mkdir(beside);
  const bad = [null, 1, {}, { kind: "run" }, { kind: "forget", key: "../beside" }, {
    kind: "start",
    key: "t.1.1",
    argv: [],
  }, { kind: "end", key: running, cause: "exit", graceMs: 0 }];
  for (const order of bad) assert.throws(() => validateOrder(order), TypeError);
  for (const order of bad) t.runner.obey(order);
  t.start(["true"], { key: "../t.1.1" });
  assert.equal((await t.exited(t.start(["true"]))).exitCode, 0);
  const refused = t.reports.filter((it) => it.kind === "exited" && it.cause === "not_started");
  assert.equal(refused.length, 2);
  assert.ok(exists(beside));
  assert.ok(!t.reports.some((it) => it.kind === "exited" && it.key === running));
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

Deno.test("a task reads the input that it is given, or ends without it", async () => {
  await using t = await startRunner();
  // More than a pipe holds.
  const stdin = new Uint8Array(1024 * 1024).fill(120);
  const read = t.start(["wc", "-c"], { stdin });
  assert.equal((await t.exited(read)).exitCode, 0);
  assert.equal(t.output(read).trim(), String(stdin.length));
  const unread = t.start(["sh", "-c", "exit 3"], { stdin });
  assert.equal((await t.exited(unread)).exitCode, 3);
});
