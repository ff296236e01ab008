import assert from "node:assert/strict";
import { findLauncher, type Launch, launch, type Launcher } from "./launch.ts";
import { readAll } from "./task_process.ts";
import type { TaskUser } from "./user.ts";

const found = findLauncher();

/** All ways to start a process on this system. */
const launchers: Record<string, Launcher> = {
  "by the C library": found,
  "by setsid": { ...found, spawner: undefined },
  "by Deno alone": { ...found, spawner: undefined, setsid: undefined },
};

const own: TaskUser = { name: "own", home: "/", ids: undefined };

async function run(launcher: Launcher, what: Partial<Launch>) {
  const process = launch(launcher, {
    program: "/bin/sh",
    args: [],
    env: { PATH: "/usr/bin:/bin" },
    folder: "/",
    isOwn: false,
    user: own,
    ...what,
  });
  const outputs = Promise.all([readAll(process.stdout), readAll(process.stderr)]);
  const [exit, [stdout, stderr]] = await Promise.all([process.ended, outputs]);
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { ...exit, pid: process.pid, bytes: stdout, stdout: text(stdout), stderr: text(stderr) };
}

/** How it ended, or why it did not start. */
async function outcome(launcher: Launcher, what: Partial<Launch>): Promise<string> {
  try {
    const { exitCode, stderr } = await run(launcher, what);
    return `${exitCode} ${stderr}`;
  } catch (error) {
    return String(error);
  }
}

const sh = (script: string) => ({ args: ["-c", script] });

Deno.test({
  name: "Linux with glibc starts processes by the C library",
  ignore: Deno.build.os !== "linux",
  fn: () => assert.notEqual(found.spawner, undefined),
});

for (const [how, launcher] of Object.entries(launchers)) {
  Deno.test(`a process started ${how} leads a session in its folder, with an empty input`, async () => {
    const { pid, stdout } = await run(launcher, {
      ...sh("pwd; cat; cut -d' ' -f5,6 /proc/self/stat; echo $$"),
      folder: "/usr",
    });
    assert.equal(stdout, `/usr\n${pid} ${pid}\n${pid}\n`);
  });

  Deno.test(`arguments, variables and output pass byte for byte ${how}`, async () => {
    const odd = String.fromCharCode(...Array.from({ length: 0x17f }, (_, at) => at + 1)) +
      "'\"\\$`";
    const env = {
      PATH: "/usr/bin:/bin",
      "no.name of a-shell": odd,
      EMPTY: "",
      LONG: "x".repeat(99_999),
    };
    const lines = await run(launcher, { program: "/usr/bin/env", args: ["-0"], env });
    const got = lines.stdout.split("\0").filter(Boolean).map((line) =>
      line.split(/=(.*)/s).slice(0, 2)
    );
    assert.deepEqual(Object.fromEntries(got), env);
    const many = Array.from({ length: 1_000 }, (_, at) => `${at}\n`);
    const args = ["-c", 'printf %s "$@"', "sh", odd, "", ...many];
    assert.equal((await run(launcher, { args })).stdout, odd + many.join(""));
    const zeros = await run(launcher, sh("head -c 3000001 /dev/zero; printf x >&2"));
    assert.deepEqual([zeros.bytes.length, zeros.stderr], [3_000_001, "x"]);
  });

  Deno.test(`exit codes and signals are told apart ${how}`, async () => {
    const ends = async (script: string) => {
      const { exitCode, signal } = await run(launcher, sh(script));
      return exitCode ?? signal;
    };
    for (const code of [0, 1, 126, 127, 130, 141, 255]) {
      assert.equal(await ends(`exit ${code}`), code);
    }
    for (const [number, name] of [[2, "INT"], [13, "PIPE"], [16, "STKFLT"], [31, "SYS"]]) {
      assert.equal(await ends(`kill -${number} $$`), `SIG${name}`);
    }
    assert.equal(await ends("kill -35 $$"), 128 + 35);
  });

  Deno.test(`what cannot be executed ends or fails alike ${how}`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      const file = async (name: string, text: string, mode = 0o755) => {
        await Deno.writeTextFile(`${folder}/${name}`, text, { mode });
        return { program: `${folder}/${name}` };
      };
      // As execvp(3) does.
      const plain = await run(launcher, { ...await file("plain", "echo $0 $1"), args: ["a b"] });
      if (launcher.setsid !== undefined) assert.equal(plain.stdout, `${folder}/plain a b\n`);
      const unable = [
        await file("locked", "#!/bin/sh", 0o644),
        await file("orphan", "#!/nowhere"),
        { program: `${folder}/missing` },
        { args: ["x".repeat(200_000)] },
        { folder: `${folder}/none` },
      ];
      for (const what of unable) {
        const reference = await outcome({ ...launcher, spawner: undefined }, what);
        assert.equal(await outcome(launcher, what), reference);
        assert.doesNotMatch(reference, /^0 /);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

Deno.test("many processes at once keep their outputs apart, and one that is closed ends none", async () => {
  const numbers = Array.from({ length: 150 }, (_, at) => at);
  const talking = numbers.map(async (at) => {
    const { stdout, stderr, exitCode } = await run(
      found,
      sh(`echo ${at}; echo e${at} >&2; exit ${at}`),
    );
    assert.deepEqual([stdout, stderr, exitCode], [`${at}\n`, `e${at}\n`, at]);
  });
  const process = launch(found, {
    program: "/bin/sh",
    args: ["-c", "trap '' PIPE; while echo x; do :; done 2>/dev/null; echo over >&2; exit 3"],
    env: { PATH: "/usr/bin:/bin" },
    ...{ folder: "/", isOwn: false, user: own },
  });
  assert.equal((await process.stdout.read())?.[0], "x".charCodeAt(0));
  const rest = readAll(process.stdout);
  process.stdout.close();
  await rest;
  assert.equal(new TextDecoder().decode(await readAll(process.stderr)), "over\n");
  assert.deepEqual(await process.ended, { exitCode: 3, signal: undefined });
  await Promise.all(talking);
});

/** What id(1) says of a process that was started as that user. */
async function identity(launcher: Launcher, user: TaskUser) {
  const { stdout, stderr } = await run(launcher, {
    ...sh("id -u; id -g; id -G; grep ^Gid: /proc/self/status"),
    user,
  });
  assert.equal(stderr, "");
  const [uid, gid, groups, gids] = stdout.trim().split("\n");
  return { uid, gid, groups: groups?.split(" ").sort(), gids: gids?.split("\t").slice(1) };
}

Deno.test({
  name: "a task of another user has that user's groups, and none of the worker's",
  ignore: Deno.uid() !== 0 || Deno.build.os !== "linux",
  async fn() {
    // With further groups another program sets them; with the primary one alone Deno does.
    for (const groups of [[54322], [54322, 54323, 54324]]) {
      const ids = { uid: 54321, gid: 54322, groups };
      for (const launcher of Object.values(launchers)) {
        assert.deepEqual(await identity(launcher, { name: "other", home: "/", ids }), {
          uid: "54321",
          gid: "54322",
          groups: groups.map(String),
          gids: Array(4).fill("54322"),
        });
      }
    }
  },
});
