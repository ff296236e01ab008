/** install.sh, on a release that is made up of a script in place of the executable. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { component, programs } from "../support/component.ts";
import { temporaryFolder } from "../support/temporary.ts";

const script = join(import.meta.dirname!, "../../packaging/install.sh");
const ready = await component("tar and sha256sum", programs("tar", "gzip", "sha256sum"));

async function run(
  program: string,
  args: string[],
  cwd: string,
  options: Deno.CommandOptions = {},
) {
  const ran = await new Deno.Command(program, { args, cwd, env: { HOME: cwd }, ...options })
    .output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code: ran.code, stdout: text(ran.stdout), stderr: text(ran.stderr) };
}

/** A release for this system, with its checksums. */
async function makeRelease(folder: string, program: string): Promise<void> {
  const cpu = { x86_64: "x64", aarch64: "arm64" }[Deno.build.arch];
  const name = `agent-9.9.9-${Deno.build.os === "darwin" ? "macos" : "linux"}-${cpu}`;
  await Deno.mkdir(join(folder, name), { recursive: true });
  await Deno.writeTextFile(join(folder, name, "agent"), program, { mode: 0o755 });
  await Deno.copyFile(script, join(folder, "install.sh"));
  const made = await run("sh", [
    "-ec",
    `tar -czf ${name}.tar.gz ${name}; rm -r ${name}; sha256sum -- *.tar.gz install.sh >SHA256SUMS`,
  ], folder);
  assert.equal(made.code, 0, made.stderr);
}

const works = "#!/bin/sh\necho 'agent 9.9.9'\n";

Deno.test({
  name: "a release is verified, and installed as a whole",
  ...ready,
  async fn() {
    await using temporary = await temporaryFolder();
    const [release, bin] = ["release", "bin"].map((name) => join(temporary.path, name));
    await makeRelease(release!, works);
    const installed = await run(
      "sh",
      [join(release!, "install.sh"), "--dir", bin!],
      temporary.path,
    );
    assert.equal(installed.code, 0, installed.stderr);
    assert.match(installed.stderr, /agent 9\.9\.9 is in .*bin/);
    assert.match(installed.stderr, /add it to PATH/);
    assert.equal((await run(join(bin!, "agent"), [], temporary.path)).stdout, "agent 9.9.9\n");
    assert.deepEqual([...Deno.readDirSync(bin!)].map(({ name }) => name), ["agent"]);
  },
});

for (const shell of [["sh"], ["dash"], ["busybox", "sh"], ["bash"]]) {
  Deno.test({
    name: `a user who is not root installs it for himself with ${shell.join(" ")}`,
    ...await component(`install.sh in ${shell[0]}`, programs(shell[0]!, "tar", "sha256sum")),
    async fn() {
      await using temporary = await temporaryFolder();
      const release = join(temporary.path, "release");
      await makeRelease(release, works);
      const nobody = 65_534;
      const isRoot = Deno.uid() === 0;
      if (isRoot) await Deno.chown(temporary.path, nobody, nobody);
      const [program, ...args] = [...shell, join(release, "install.sh")];
      const who = isRoot ? { uid: nobody, gid: nobody } : {};
      const ran = await run(program!, args, temporary.path, who);
      assert.equal(ran.code, 0, ran.stderr);
      const installed = join(temporary.path, ".local/bin/agent");
      assert.equal((await run(installed, [], temporary.path)).stdout, "agent 9.9.9\n");
    },
  });
}

Deno.test({
  name: "a damaged archive, or one that does not run, changes nothing",
  ...ready,
  async fn() {
    await using temporary = await temporaryFolder();
    const [release, bin] = ["release", "bin"].map((name) => join(temporary.path, name));
    await makeRelease(release!, works);
    await Deno.mkdir(bin!);
    await Deno.writeTextFile(join(bin!, "agent"), "former");
    const install = () => run("sh", [script, "--from", release!, "--dir", bin!], temporary.path);
    const [archive] = [...Deno.readDirSync(release!)].filter(({ name }) => name.endsWith(".gz"));
    await Deno.writeTextFile(join(release!, archive!.name), "x", { append: true });
    const damaged = await install();
    assert.equal(damaged.code, 1);
    assert.match(damaged.stderr, /is damaged: its SHA-256 is/);
    await Deno.remove(release!, { recursive: true });
    await makeRelease(release!, "#!/bin/sh\nexit 1\n");
    assert.match((await install()).stderr, /does not run here/);
    assert.equal(await Deno.readTextFile(join(bin!, "agent")), "former");
    assert.deepEqual([...Deno.readDirSync(bin!)].map(({ name }) => name), ["agent"]);
  },
});
