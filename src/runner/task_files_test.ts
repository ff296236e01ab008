import { exists } from "../base/fs/atomic_file.ts";
import assert from "node:assert/strict";
import { join } from "node:path";
import { component, programs } from "../../tests/support/component.ts";
import { eventually, slowness } from "../../tests/support/eventually.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import { TaskFiles, type TaskFilesOptions } from "./task_files.ts";
import { encodeFrame, frame } from "./task_files_protocol.ts";
import type { TaskUser } from "./user.ts";

const other: TaskUser = {
  name: "other",
  home: "/",
  ids: { uid: 54321, gid: 54321, groups: [54321] },
};
const own: TaskUser = { name: "me", home: "/", ids: undefined };
const perl = await component("perl", programs("perl"));
const asRoot = Deno.uid() === 0;

const module = new URL("./task_files_process.ts", import.meta.url).href;
const command = {
  command: Deno.execPath(),
  args: [
    "eval",
    "--no-config",
    `import { serveTaskFiles } from "${module}"; serveTaskFiles(Deno.args[0]);`,
  ],
};

interface Place extends AsyncDisposable {
  files: TaskFiles;
  /** The task's folder, and one for copies. */
  folder: string;
  into: string;
  /** Processes that were started and not ended. */
  watched: Set<number>;
}

async function place(options: Partial<TaskFilesOptions> = {}): Promise<Place> {
  const open = new AsyncDisposableStack();
  const path = await Deno.realPath(open.use(await temporaryFolder()).path);
  await Deno.chmod(path, 0o711);
  const folder = join(path, "task");
  await Deno.mkdir(folder);
  await Deno.chmod(folder, 0o755);
  const watched = new Set<number>();
  const files = open.use(
    new TaskFiles({
      command,
      user: own,
      apart: (start) => start(),
      watch: (pid) => watched.add(pid),
      unwatch: (pid) => watched.delete(pid),
      log: silentLog,
      ...options,
    }),
  );
  const into = join(path, "copies");
  return { files, folder, into, watched, [Symbol.asyncDispose]: () => open.disposeAsync() };
}

/** Folders in folders, which no path could name. */
async function nest(folder: string, levels: number, user: TaskUser): Promise<void> {
  const code = `chdir shift; for (1..${levels}) { mkdir "d"; chdir "d" } open F, ">file"`;
  const made = await new Deno.Command("perl", {
    args: ["-e", code, folder],
    ...(user.ids === undefined ? {} : { uid: user.ids.uid, gid: user.ids.gid }),
  }).output();
  assert.ok(made.success, new TextDecoder().decode(made.stderr));
}

Deno.test({
  name: "a folder of 25,000 levels is removed, by the process of the tasks' user",
  ...perl,
  async fn() {
    const user = asRoot ? other : own;
    await using t = await place({ user });
    if (user.ids !== undefined) await Deno.chown(t.folder, user.ids.uid, user.ids.gid);
    try {
      await nest(t.folder, 25_000, user);
      await t.files.remove(t.folder);
      assert.ok(!exists(t.folder));
    } finally {
      // What is left would overflow the stack of the runtime's own removal, and end all tests.
      await new Deno.Command("rm", { args: ["-rf", t.folder] }).output();
    }
  },
});

Deno.test("what a task hides from itself is removed, whatever its names", async () => {
  await using t = await place(asRoot ? { user: other } : {});
  const script = `mkdir -p a/b/c e; touch "$(printf 'x\\377')" a/b/c/f 'a/new
line'; ln -s / a/b/root; mkfifo a/pipe
    touch "$(printf 'e/y\\377')"; mkdir "$(printf 'e/z\\377')"; chmod 0 a/b; chmod 500 a`;
  if (asRoot) await Deno.chown(t.folder, 54321, 54321);
  const made = await new Deno.Command("sh", {
    args: ["-c", script],
    cwd: t.folder,
    ...(asRoot ? { uid: 54321, gid: 54321 } : {}),
  }).output();
  assert.ok(made.success, new TextDecoder().decode(made.stderr));
  await t.files.remove(t.folder);
  assert.ok(!exists(t.folder));
  assert.ok(exists("/etc"));
});

Deno.test({
  name: "removing stops at what the tasks' user may not remove itself",
  ignore: !asRoot,
  async fn() {
    await using t = await place({ user: other });
    await Deno.mkdir(join(t.folder, "roots"));
    await Deno.writeTextFile(join(t.folder, "roots/file"), "");
    await Deno.chown(t.folder, 54321, 54321);
    await assert.rejects(t.files.remove(t.folder), /denied|not permitted/);
    assert.ok(exists(join(t.folder, "roots/file")));
  },
});

Deno.test({
  name: "nothing is collected that the tasks' user may not read itself",
  ignore: !asRoot,
  async fn() {
    await using t = await place({ user: other });
    const write = async (path: string, mode: number) => {
      await Deno.writeTextFile(join(t.folder, path), "x");
      await Deno.chmod(join(t.folder, path), mode);
    };
    for (const folder of ["hidden", "unlisted", "open"]) await Deno.mkdir(join(t.folder, folder));
    await write("own.key", 0o600);
    await write("hidden/readable", 0o644);
    await write("unlisted/readable", 0o644);
    await write("open/ca.key", 0o600);
    await write("open/ca.crt", 0o644);
    await Deno.chmod(join(t.folder, "hidden"), 0o700);
    await Deno.chmod(join(t.folder, "unlisted"), 0o711);
    await Deno.chmod(join(t.folder, "open"), 0o755);
    const globs = ["own.key", "open/ca.key", "**", "hidden/readable", "unlisted/readable"];
    const query = { folder: t.folder, globs, maxFiles: 10 };
    const { files, notes } = await t.files.collect(query, t.into);
    assert.deepEqual(files.map(({ path }) => path), ["open/ca.crt", "unlisted/readable"]);
    for (const path of ["own.key", "open/ca.key", "hidden"]) {
      const said = (note: string) => note.includes(path) && note.includes("ermission denied");
      assert.ok(notes.some(said), `${path}: ${notes}`);
    }
  },
});

Deno.test("a file that grows while it is read is taken as long as it was", async () => {
  await using t = await place();
  const path = join(t.folder, "log");
  await Deno.writeTextFile(path, "x".repeat(1024 * 1024));
  const writer = await Deno.open(path, { append: true });
  const line = new Uint8Array(64 * 1024);
  let over = false;
  // Faster than a copy can follow.
  const writing = (async () => {
    for (let count = 0; !over && count < 2_000; count++) await writer.write(line);
  })();
  const query = { folder: t.folder, globs: ["log"], maxFiles: 1 };
  const { files } = await t.files.collect(query, t.into);
  over = true;
  await writing;
  writer.close();
  assert.equal((await Deno.stat(files[0]!.file)).size, files[0]!.size);
  // A file of the kernel has no length, and reading it may never end.
  const kernel = { folder: "/proc/self", globs: ["mounts"], maxFiles: 1 };
  const { files: [mounts] } = await t.files.collect(kernel, t.into);
  assert.equal(mounts!.size, 0);
});

Deno.test("a name that becomes a link or a pipe during collection is not followed, nor waited for", async () => {
  await using t = await place();
  const secret = join(t.folder, "../secret");
  await Deno.mkdir(secret);
  await Deno.writeTextFile(join(secret, "file"), "secret");
  await Deno.mkdir(join(t.folder, "real"));
  await Deno.writeTextFile(join(t.folder, "real/file"), "mine");
  await Deno.symlink(secret, join(t.folder, "link"));
  await new Deno.Command("mkfifo", { args: [join(t.folder, "pipe")] }).output();
  // Two names that are what they should be, lead to the secret, and are a pipe, by turns.
  const turns = `
    onmessage = ({ data: { folder, secret } }) => {
      const at = (name) => folder + "/" + name;
      const rename = (from, to) => Deno.renameSync(at(from), at(to));
      for (let turn = 0; turn < 1_000; turn++) {
        rename("real", "folder");
        Deno.writeTextFileSync(at("next"), "mine");
        rename("next", "file");
        rename("folder", "real");
        rename("link", "folder");
        Deno.symlinkSync(secret + "/file", at("next"));
        rename("next", "file");
        Deno.linkSync(at("pipe"), at("next"));
        rename("next", "file");
        rename("folder", "link");
      }
      postMessage("over");
    };`;
  const worker = new Worker(`data:text/javascript,${encodeURIComponent(turns)}`, {
    type: "module",
  });
  let over = false;
  worker.onmessage = () => over = true;
  worker.postMessage({ folder: t.folder, secret });
  const taken = new Set<string>();
  let round = 0;
  const collect = async () => {
    const into = join(t.into, `${round++}`);
    const query = { folder: t.folder, globs: ["file", "folder/file"], maxFiles: 10 };
    const { files } = await t.files.collect(query, into);
    for (const { path, file } of files) taken.add(`${path}: ${await Deno.readTextFile(file)}`);
  };
  while (!over) await collect();
  worker.terminate();
  // Which turn a round meets is chance; at rest both are there.
  await Deno.rename(join(t.folder, "real"), join(t.folder, "folder"));
  await Deno.remove(join(t.folder, "file"));
  await Deno.writeTextFile(join(t.folder, "file"), "mine");
  await collect();
  assert.deepEqual([...taken].sort(), ["file: mine", "folder/file: mine"]);
});

Deno.test({
  name: "everything that matches and cannot be taken is named, and a lease delays nothing",
  ...perl,
  async fn() {
    await using t = await place();
    await Deno.writeTextFile(join(t.folder, "leased"), "x");
    await Deno.writeTextFile(join(t.folder, "plain"), "x");
    await Deno.symlink("plain", join(t.folder, "link"));
    await new Deno.Command("mkfifo", { args: [join(t.folder, "pipe")] }).output();
    // F_SETLEASE and F_WRLCK of Linux.
    const code = `open F, "+<", shift; fcntl(F, 1024, 1) or die $!; $SIG{IO} = "IGNORE"; $| = 1;
    print "leased\\n"; <STDIN>`;
    const holder = new Deno.Command("perl", {
      args: ["-e", code, join(t.folder, "leased")],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    try {
      await holder.stdout.getReader().read();
      const since = performance.now();
      const query = { folder: t.folder, globs: ["**"], maxFiles: 10 };
      const { files, notes } = await t.files.collect(query, t.into);
      // The kernel breaks a lease by force after 45 s.
      assert.ok(performance.now() - since < 20_000 * slowness());
      assert.deepEqual(files.map(({ path }) => path), ["plain"]);
      for (const name of ["leased", "link", "pipe"]) {
        assert.ok(notes.some((note) => note.includes(`"${name}" was left out`)), name);
      }
    } finally {
      holder.kill("SIGKILL");
      await holder.status;
      await holder.stdin.close().catch(() => {});
    }
  },
});

Deno.test({
  name: "a file whose name is not UTF-8 is named, and so is one behind such a folder",
  // Other systems refuse such names.
  ignore: Deno.build.os !== "linux",
  async fn() {
    await using t = await place();
    const script = `printf x >"$(printf 'x\\377')"; printf x >"$(printf '\\303\\251')"; mkdir in
      printf x >in/"$(printf 'y\\377')"; mkdir "$(printf 'z\\377')"; printf x >"$(printf 'z\\377')"/f`;
    await new Deno.Command("sh", { args: ["-c", script], cwd: t.folder }).output();
    const query = { folder: t.folder, globs: ["**"], maxFiles: 10 };
    const { files, notes } = await t.files.collect(query, t.into);
    assert.deepEqual(files.map(({ path }) => path), ["é"]);
    const leftOut = (name: string, of = "its name") =>
      `Artifact "${name}\ufffd" was left out: ${of} is not UTF-8`;
    const folder = leftOut("z", "the folder's name");
    assert.deepEqual(notes, [leftOut("in/y"), leftOut("x"), folder]);
    const below = { folder: t.folder, globs: ["**/f"], maxFiles: 10 };
    assert.deepEqual((await t.files.collect(below, t.into)).notes, [folder]);
    const other = { folder: t.folder, globs: ["*.log"], maxFiles: 10 };
    const { notes: none } = await t.files.collect(other, t.into);
    assert.deepEqual(none, ['Artifact "*.log" matched no file']);
  },
});

Deno.test("a process that is stuck is killed, and the next job gets another", async () => {
  const flag = await Deno.makeTempFile();
  try {
    const first = `test -e ${flag} && rm ${flag} && exec sleep 1000; shift; exec "$@"`;
    const args = ["-c", first, "sh", "x", command.command, ...command.args];
    const bounds = { stuckMs: 3_000, idleMs: 200 };
    await using t = await place({ command: { command: "/bin/sh", args }, bounds });
    await Deno.writeTextFile(join(t.folder, "a"), "x");
    const query = { folder: t.folder, globs: ["a"], maxFiles: 10 };
    const stuck = await t.files.collect(query, t.into);
    assert.match(stuck.notes.join(), /made no progress for 3 s/);
    assert.deepEqual(stuck.files, []);
    assert.equal((await t.files.collect(query, t.into)).files.length, 1);
    await eventually(10_000, () => Promise.resolve(t.watched.size === 0));
  } finally {
    await Deno.remove(flag).catch(() => {});
  }
});

Deno.test("a process that says what ours would not writes nothing elsewhere", async () => {
  const lies = ["../x", "/x", "a/../../x", "a//b", ""];
  for (const path of lies) {
    await using folder = await temporaryFolder();
    const answers = [{ kind: "file", path, size: 1, mode: 0o644 }, { kind: "done", notes: [] }];
    const bytes = answers.flatMap((it) => [
      ...encodeFrame(frame.json, new TextEncoder().encode(JSON.stringify(it))),
    ]);
    await Deno.writeFile(join(folder.path, "frames"), new Uint8Array(bytes));
    const args = ["-c", `cat ${folder.path}/frames; read line`];
    await using t = await place({ command: { command: "/bin/sh", args } });
    const query = { folder: t.folder, globs: ["a"], maxFiles: 10 };
    const { files, notes } = await t.files.collect(query, join(t.into, "deep"));
    assert.deepEqual(files, []);
    assert.match(notes.join(), /not requested/);
    assert.ok(!exists(join(t.into, "x")) && !exists("/x"));
  }
});

Deno.test("a sparse file that would fill the disk is left out, and the others are collected", async () => {
  await using t = await place();
  await Deno.writeTextFile(join(t.folder, "b"), "small");
  await Deno.writeTextFile(join(t.folder, "a"), "");
  await Deno.truncate(join(t.folder, "a"), 2 ** 43);
  const query = { folder: t.folder, globs: ["*"], maxFiles: 10 };
  const { files, notes } = await t.files.collect(query, t.into);
  assert.deepEqual(files.map(({ path }) => path), ["b"]);
  assert.match(notes.join(), /"a" was left out: the worker has no space for its 8/);
});

Deno.test("collecting stops when it is told to, and leaves no part of a file", async () => {
  await using t = await place();
  await Deno.writeTextFile(join(t.folder, "a"), "");
  await Deno.truncate(join(t.folder, "a"), 2 ** 33);
  const stop = new AbortController();
  const query = { folder: t.folder, globs: ["*"], maxFiles: 10 };
  const collected = t.files.collect(query, t.into, stop.signal);
  await eventually(10_000, () => exists(join(t.into, "a")));
  stop.abort(new Error("the task was ended"));
  const { files, notes } = await collected;
  assert.deepEqual(files, []);
  assert.match(notes.join(), /the task was ended/);
  assert.ok(!exists(join(t.into, "a")));
  await eventually(10_000, () => t.watched.size === 0);
});

Deno.test("a process that ends while it collects, or before, is replaced, and nothing is missing", async () => {
  let kill = true;
  await using t = await place({
    watch: (pid) => {
      if (kill) Deno.kill(pid, "SIGKILL");
      kill = false;
      last = pid;
    },
  });
  let last = 0;
  for (const name of ["a", "b"]) await Deno.writeTextFile(join(t.folder, name), name);
  const query = { folder: t.folder, globs: ["*"], maxFiles: 10 };
  for (const into of ["first", "second"]) {
    const { files, notes } = await t.files.collect(query, join(t.into, into));
    assert.deepEqual(files.map(({ path }) => path), ["a", "b"], into);
    assert.deepEqual(notes, []);
    Deno.kill(last, "SIGKILL");
  }
});

Deno.test("a worker that was stopped for long does not take this for a process that is stuck", async () => {
  await using folder = await temporaryFolder();
  const done = new TextEncoder().encode(JSON.stringify({ kind: "done", notes: [] }));
  await Deno.writeFile(join(folder.path, "frames"), encodeFrame(frame.json, done));
  const args = ["-c", `read line; sleep 0.3; cat ${folder.path}/frames; read line`];
  const bounds = { stuckMs: 2_000, idleMs: 10 };
  await using t = await place({ command: { command: "/bin/sh", args }, bounds });
  const collected = t.files.collect({ folder: t.folder, globs: ["a"], maxFiles: 10 }, t.into);
  await new Promise((resolve) => setTimeout(resolve, 50));
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_500);
  assert.deepEqual((await collected).notes, []);
});
