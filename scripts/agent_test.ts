import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { component, findProgram, networkNamespaces } from "../tests/support/component.ts";
import { denoDir } from "../tests/support/home.ts";

const launcher = fileURLToPath(new URL("agent", import.meta.url));

/** A machine where only the shell's own tools are real; its PATH is `bin` alone. */
async function machine() {
  const folder = await Deno.makeTempDir({ prefix: "agent-launch-" });
  const bin = join(folder, "bin");
  await Deno.mkdir(bin);
  for (const name of ["cksum", "mkdir", "mv", "readlink", "rm", "sh", "sleep", "tr", "chmod"]) {
    await Deno.symlink((await findProgram(name))!, join(bin, name));
  }
  return {
    folder,
    cache: join(folder, ".cache", "agent"),
    /** Puts a shell script on PATH as a program. */
    async program(name: string, script: string) {
      await Deno.writeTextFile(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    },
    async start(options: { launcher?: string; args?: string[]; through?: string[] } = {}) {
      const line = [...options.through ?? [], options.launcher ?? launcher];
      const ran = await new Deno.Command(line[0]!, {
        args: [...line.slice(1), ...options.args ?? ["version", "--json"]],
        clearEnv: true,
        env: { HOME: folder, PATH: bin, DENO_DIR: denoDir(), DENO_TLS_CA_STORE: "system,mozilla" },
        cwd: "/",
      }).output();
      const decoder = new TextDecoder();
      return {
        code: ran.code,
        stdout: decoder.decode(ran.stdout),
        stderr: decoder.decode(ran.stderr),
      };
    },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

/** Does what a package manager does, without the network: `deno` comes out of a package. */
const packaged = `
for last; do :; done
while [ "$1" != --prefix ] && [ "$1" != --target ]; do shift; done
case $1 in --prefix) made=$2/node_modules/@deno/here ;; *) made=$2/bin ;; esac
mkdir -p "$made"
printf '#!/bin/sh\\nexec "${Deno.execPath()}" "$@"\\n' >"$made/deno"
chmod 755 "$made/deno"
echo "installed $last"`;

Deno.test("a Deno on PATH that is new enough is used, and nothing is fetched", async () => {
  await using fresh = await machine();
  await fresh.program("deno", `exec "${Deno.execPath()}" "$@"`);
  const ran = await fresh.start();
  assert.equal(ran.code, 0, ran.stderr);
  assert.equal(JSON.parse(ran.stdout).deno, Deno.version.deno);
  assert.doesNotMatch(ran.stderr, /fetching Deno/);
});

for (const [manager, said] of [["npm", "installed deno@"], ["pip3", "installed deno=="]] as const) {
  Deno.test(`without Deno one is fetched by ${manager}, once`, async () => {
    await using fresh = await machine();
    await fresh.program(manager, packaged);
    const first = await fresh.start();
    assert.equal(first.code, 0, first.stderr);
    assert.ok(first.stderr.includes(said), first.stderr);
    await fresh.program(manager, "echo asked again >&2; exit 1");
    const second = await fresh.start();
    assert.deepEqual([second.code, second.stderr], [0, ""]);
    assert.equal(second.stdout, first.stdout);
  });
}

Deno.test("a Deno that is too old, or says nonsense, is passed over", async () => {
  for (const old of ["deno 2.7.13 (stable)", "deno 1.46.3", "deno 2.x", "", "deno 2.10"]) {
    await using fresh = await machine();
    await fresh.program("deno", `echo "${old}"`);
    await fresh.program("npm", packaged);
    const ran = await fresh.start();
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stderr, /fetching Deno \S+ by npm/, old);
  }
});

Deno.test("a Deno on PATH whose V8 lacks one of our flags is passed over", async () => {
  await using fresh = await machine();
  const refuse =
    `case $* in *--v8-flags=*) echo "error: V8 did not recognize flag" >&2; exit 1 ;; esac`;
  await fresh.program("deno", `${refuse}\nexec "${Deno.execPath()}" "$@"`);
  await fresh.program("npm", packaged);
  const ran = await fresh.start();
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stderr, /installed deno@/);
});

Deno.test("where one package manager fails the next is tried", async () => {
  await using fresh = await machine();
  await fresh.program("npm", "echo npm has no network >&2; exit 1");
  await fresh.program("pip", packaged);
  const ran = await fresh.start();
  assert.equal(ran.code, 0, ran.stderr);
  assert.match(ran.stderr, /npm has no network[^]*by pip /);
});

Deno.test("without npm and pip it says what is missing and leaves nothing", async () => {
  await using fresh = await machine();
  const ran = await fresh.start();
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /neither npm nor pip[^]*Install Deno/);
  assert.equal((await Array.fromAsync(Deno.readDir(fresh.cache))).length, 0);
});

Deno.test("a fetch that fails says what was tried, and leaves nothing half", async () => {
  await using fresh = await machine();
  await fresh.program("npm", `${packaged}; exit 1`);
  const ran = await fresh.start();
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /Could not fetch Deno [^ ]+ with npm[^]*Check the network/);
  assert.equal((await Array.fromAsync(Deno.readDir(fresh.cache))).length, 0);
});

Deno.test("two first starts at once both succeed", async () => {
  await using fresh = await machine();
  await fresh.program("npm", packaged);
  const both = await Promise.all([fresh.start(), fresh.start()]);
  for (const { code, stderr } of both) assert.equal(code, 0, stderr);
  assert.deepEqual(
    (await Array.fromAsync(Deno.readDir(fresh.cache))).map(({ name }) => name.split("-")[0])
      .toSorted(),
    ["deno", "ready"],
  );
});

Deno.test("it starts through symbolic links, relative ones too", async () => {
  await using fresh = await machine();
  await fresh.program("deno", `exec "${Deno.execPath()}" "$@"`);
  await Deno.symlink(launcher, join(fresh.folder, "one"));
  await Deno.symlink("one", join(fresh.folder, "two"));
  const ran = await fresh.start({ launcher: join(fresh.folder, "two") });
  assert.equal(ran.code, 0, ran.stderr);
});

const cut = await component("a machine without network", networkNamespaces);
Deno.test({
  name: "a second start needs no network",
  ...cut,
  fn: async () => {
    await using fresh = await machine();
    await fresh.program("deno", `exec "${Deno.execPath()}" "$@"`);
    await fresh.start();
    const ran = await fresh.start({ through: [(await findProgram("unshare"))!, "-n"] });
    assert.deepEqual([ran.code, ran.stderr], [0, ""]);
  },
});
