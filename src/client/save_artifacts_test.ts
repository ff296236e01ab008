import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { limits } from "../tasks/limits.ts";
import { TaskError } from "../tasks/service.ts";
import type { Artifact } from "../tasks/task.ts";
import { fakeTasks } from "../../tests/support/fake_tasks.ts";
import { saneMode, saveArtifacts } from "./save_artifacts.ts";

const encode = (text: string) => new TextEncoder().encode(text);

async function saving(files: Record<string, string>, options: {
  /** What arrives of a text. */
  damage?: (text: string) => string;
  force?: boolean;
  prepare?: (folder: string) => Promise<void>;
  mode?: number;
  /** In place of one in a new folder. */
  folder?: string;
  /** Small files come together. */
  together?: boolean;
} = {}) {
  const parent = await Deno.makeTempDir({ prefix: "agent-save-" });
  const folder = options.folder ?? join(parent, "new", "folder");
  await options.prepare?.(folder);
  const artifacts = Object.entries(files).map(([path, text]): Artifact => ({
    path,
    size: encode(text).length,
    sha256: createHash("sha256").update(text).digest("hex"),
    mode: options.mode ?? 0o644,
    attempt: 1,
  }));
  const tasks = fakeTasks({
    async *readArtifact({ path }) {
      const data = encode((options.damage ?? String)(files[path]!));
      for (let offset = 0; offset < data.length; offset += 2) {
        yield await Promise.resolve({ offset, data: data.slice(offset, offset + 2) });
      }
    },
  });
  const reads: string[][] = [];
  if (options.together) {
    tasks.getArtifacts = (_id, _attempt, paths) => {
      reads.push([...paths]);
      return Promise.resolve(paths.map((path) => encode((options.damage ?? String)(files[path]!))));
    };
  }
  const { signal } = new AbortController();
  const force = options.force ?? false;
  return {
    parent,
    folder,
    reads,
    save: () => saveArtifacts({ tasks, taskId: "t1", artifacts, folder, force, signal }),
    read: (path: string) => Deno.readTextFile(join(folder, path)),
    [Symbol.asyncDispose]: () => Deno.remove(parent, { recursive: true }),
  };
}

/** All files below a folder. */
async function files(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory) found.push(...await files(path));
    else found.push(path);
  }
  return found.sort();
}

Deno.test("artifacts are saved under their paths, whole", async () => {
  await using one = await saving({ "a.txt": "first", "out/deep/b.txt": "second", "empty": "" });
  assert.deepEqual(
    await one.save(),
    ["a.txt", "out/deep/b.txt", "empty"].map((path) => join(one.folder, path)),
  );
  assert.equal(await one.read("a.txt"), "first");
  assert.equal(await one.read("out/deep/b.txt"), "second");
  assert.equal(await one.read("empty"), "");
  assert.equal((await files(one.folder)).length, 3, "no temporary file is left");
});

Deno.test("a path that leads out of the folder is refused, whatever else is listed", async () => {
  const names = [
    "../x",
    "a/../../x",
    "/etc/x",
    "a//b",
    "a/./b",
    "",
    "a\nb",
    "a/".repeat(3000) + "b",
  ];
  for (const name of names) {
    await using one = await saving({ "fine.txt": "x", [name]: "x" });
    await assert.rejects(one.save(), { code: "unsafe_path" }, name);
    assert.deepEqual(await files(one.parent), [], "nothing was written");
  }
});

Deno.test("no symbolic link leads out of the folder", async () => {
  for (const force of [false, true]) {
    await using one = await saving({ "link/x": "evil" }, {
      force,
      prepare: async (folder) => {
        await Deno.mkdir(join(folder, "../../outside"), { recursive: true });
        await Deno.mkdir(folder, { recursive: true });
        await Deno.symlink(join(folder, "../../outside"), join(folder, "link"));
      },
    });
    await assert.rejects(one.save(), { code: "unsafe_path" });
    assert.deepEqual(await files(join(one.parent, "outside")), []);
  }
});

Deno.test("a file that exists is kept without force, and then nothing is written", async () => {
  const prepare = async (folder: string) => {
    await Deno.mkdir(folder, { recursive: true });
    await Deno.writeTextFile(join(folder, "b"), "mine");
  };
  await using kept = await saving({ a: "new", b: "new" }, { prepare });
  await assert.rejects(kept.save(), { exit: 3, code: "exists" });
  assert.equal(await kept.read("b"), "mine");
  assert.equal((await files(kept.folder)).length, 1);
  await using forced = await saving({ a: "new", b: "new" }, { prepare, force: true });
  await forced.save();
  assert.equal(await forced.read("b"), "new");
});

Deno.test("with force a link is replaced, not written through", async () => {
  await using one = await saving({ b: "new" }, {
    force: true,
    prepare: async (folder) => {
      await Deno.mkdir(folder, { recursive: true });
      await Deno.writeTextFile(join(folder, "../precious"), "mine");
      await Deno.symlink(join(folder, "../precious"), join(folder, "b"));
    },
  });
  await one.save();
  assert.equal(await Deno.readTextFile(join(one.folder, "../precious")), "mine");
  assert.equal(await one.read("b"), "new");
});

Deno.test("what arrives damaged leaves no file", async () => {
  for (const damage of [() => "text!", () => "tex", () => "test"]) {
    await using one = await saving({ a: "text" }, { damage });
    await assert.rejects(one.save(), { code: "damaged" });
    assert.deepEqual(await files(one.folder), []);
  }
});

Deno.test("a folder where a file is to be, and a file where a folder is to be, are refused", async () => {
  await using one = await saving({ "x": "text" }, {
    force: true,
    prepare: (folder) => Deno.mkdir(join(folder, "x"), { recursive: true }),
  });
  await assert.rejects(one.save(), { code: "unsafe_path" });
  await using two = await saving({ "x": "text", "x/y": "text" }, {});
  await assert.rejects(two.save(), { code: "unsafe_path" });
});

Deno.test("modes keep what is harmless", () => {
  const cases = [[0o644, 0o644], [0o755, 0o755], [0o600, 0o600], [0o4777, 0o755], [0, 0o600]];
  for (const [mode, sane] of cases) assert.equal(saneMode(mode!), sane);
});

Deno.test("an error of the coordinator leaves no file", async () => {
  await using one = await saving({ a: "text" });
  const signal = new AbortController().signal;
  const tasks = fakeTasks({
    // deno-lint-ignore require-yield -- it fails.
    async *readArtifact() {
      await Promise.resolve();
      throw new TaskError("unavailable", "gone");
    },
  });
  const artifact = { path: "a", size: 1, sha256: "", mode: 0o644, attempt: 1 };
  await assert.rejects(
    saveArtifacts({
      tasks,
      taskId: "t",
      artifacts: [artifact],
      folder: one.folder,
      force: false,
      signal,
    }),
    { code: "unavailable" },
  );
  assert.deepEqual(await files(one.parent), []);
});

Deno.test("small files come together, and are checked as others are", async () => {
  const large = "x".repeat(limits.maxSmallFileBytes + 1);
  const texts = { "a": "one", "b/c": "two", "d": large, "e": "three", "f": "" };
  await using one = await saving(texts, { together: true });
  await one.save();
  for (const [path, text] of Object.entries(texts)) assert.equal(await one.read(path), text);
  assert.deepEqual(one.reads, [["a", "b/c"], ["e", "f"]]);
  const damage = (text: string) => text === "two" ? "tw0" : text;
  await using other = await saving(texts, { together: true, damage });
  await assert.rejects(other.save(), { code: "damaged" });
  assert.deepEqual(await files(other.folder), [join(other.folder, "a")]);
});

Deno.test("a folder below /dev is refused before anything is read", async () => {
  await using one = await saving({ a: "one" }, { folder: "/dev/shm/agent-save" });
  await assert.rejects(one.save(), /writes none below \/dev/);
  await assert.rejects(Deno.stat(one.folder), Deno.errors.NotFound);
});
