import assert from "node:assert/strict";
import { join } from "node:path";
import { collectArtifacts } from "./artifacts.ts";
import type { TaskUser } from "./user.ts";

const other: TaskUser = { name: "other", home: "/", ids: { uid: 54321, gid: 54321 } };
const own: TaskUser = { name: "me", home: "/", ids: undefined };

interface Place extends AsyncDisposable {
  folder: string;
  into: string;
}

async function place(): Promise<Place> {
  const path = await Deno.realPath(await Deno.makeTempDir());
  await Deno.chmod(path, 0o711);
  const folder = join(path, "task");
  await Deno.mkdir(folder);
  await Deno.chmod(folder, 0o755);
  return {
    folder,
    into: join(path, "copies"),
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

Deno.test("nothing is taken that the tasks' user may not read itself", async () => {
  await using t = await place();
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
  const { files, notes } = await collectArtifacts({ ...t, globs, maxFiles: 10, user: other });
  assert.deepEqual(files.map(({ path }) => path), ["open/ca.crt", "unlisted/readable"]);
  for (const path of ["own.key", "open/ca.key", "hidden"]) {
    const said = (note: string) => note.includes(path) && note.endsWith(`"other" may not read it`);
    assert.ok(notes.some(said), path);
  }
  const all = await collectArtifacts({ ...t, into: `${t.into}2`, globs, maxFiles: 10, user: own });
  assert.equal(all.files.length, 5);
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
  const { files } = await collectArtifacts({ ...t, globs: ["log"], maxFiles: 1, user: own });
  over = true;
  await writing;
  writer.close();
  const { size } = await Deno.stat(path);
  assert.equal((await Deno.stat(files[0]!.file)).size, files[0]!.size);
  assert.ok(files[0]!.size < size, "it went on growing");
  // A file of the kernel has no length, and reading it may never end.
  const kernel = await collectArtifacts({
    ...{ folder: "/proc/self", into: t.into, globs: ["mounts"], maxFiles: 1, user: own },
  });
  assert.deepEqual(kernel.files.map((file) => file.size), [0]);
});

Deno.test("what is turned into a link while it is looked at is not followed", async () => {
  await using t = await place();
  const secret = join(t.folder, "../secret");
  await Deno.mkdir(secret);
  await Deno.writeTextFile(join(secret, "file"), "secret");
  await Deno.mkdir(join(t.folder, "real"));
  await Deno.writeTextFile(join(t.folder, "real/file"), "mine");
  await Deno.symlink(secret, join(t.folder, "link"));
  // Two names that are what they should be, and lead to the secret, by turns.
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
    const globs = ["file", "folder/file"];
    const { files } = await collectArtifacts({ ...t, into, globs, maxFiles: 10, user: own });
    for (const { path, file } of files) taken.add(`${path}: ${await Deno.readTextFile(file)}`);
  };
  while (!over) await collect();
  worker.terminate();
  // What is met at which turn is chance; at rest both are there.
  await Deno.rename(join(t.folder, "real"), join(t.folder, "folder"));
  await Deno.remove(join(t.folder, "file"));
  await Deno.writeTextFile(join(t.folder, "file"), "mine");
  await collect();
  assert.deepEqual([...taken].sort(), ["file: mine", "folder/file: mine"]);
});
