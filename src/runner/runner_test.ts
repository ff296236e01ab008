import { exists } from "../base/fs/atomic_file.ts";
import assert from "node:assert/strict";
import { join } from "node:path";
import { type Report, type StartOrder } from "../tasks/orders.ts";
import { validateOrder } from "./access_check.ts";
import { startRunner } from "../../tests/support/runner.ts";

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
