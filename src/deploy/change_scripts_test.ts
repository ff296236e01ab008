/** The lock of the scripts, with a real `sh`. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { eventually } from "../../tests/support/eventually.ts";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import { tokenScript } from "./change_scripts.ts";

const token = "secret";
const ignore = Deno.build.os === "windows";

/** Starts the script; it holds the lock until it is given the token. */
function start(config: string, path = "") {
  const variables = `config='${config}' by_host=test token_bytes=${token.length}\n`;
  const child = new Deno.Command("setsid", {
    args: ["sh", "-c", variables + tokenScript],
    env: { PATH: `${path}${Deno.env.get("PATH")}` },
    stdin: "piped",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  return {
    kill: () => Deno.kill(-child.pid, "SIGKILL"),
    holds: () => eventually(5_000, () => owner(config) === child.pid && work(config).length === 1),
    async end(): Promise<{ code: number; said: string }> {
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(token)).catch(() => {/* It has ended. */});
      await writer.close().catch(() => {/* It has ended. */});
      const { code, stderr } = await child.output();
      return { code, said: new TextDecoder().decode(stderr) };
    },
  };
}

const owner = (config: string) =>
  Number(Deno.readLinkSync(join(config, "deploy.lock")).split(" ")[0]);
const work = (config: string) => names(config).filter((name) => name.startsWith(".deploy."));
const names = (config: string) => [...Deno.readDirSync(config)].map(({ name }) => name).sort();

/** A folder with a `sleep` that does not wait. */
async function withoutPause(shims: string): Promise<void> {
  await Deno.mkdir(shims);
  await Deno.writeTextFile(join(shims, "sleep"), "#!/bin/sh\n", { mode: 0o755 });
}

async function killedOwner(config: string): Promise<void> {
  const killed = start(config);
  await killed.holds();
  killed.kill();
  await killed.end();
  assert.deepEqual([work(config).length, names(config).includes("deploy.lock")], [1, true]);
}

Deno.test({
  name: "the lock of a killed script is taken over, with all that it left",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    await killedOwner(folder.path);
    assert.deepEqual(await start(folder.path).end(), { code: 0, said: "" });
    assert.deepEqual(names(folder.path), ["token"]);
  },
});

Deno.test({
  name: "a script that is running is not disturbed",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const first = start(folder.path);
    await first.holds();
    const shims = join(folder.path, "shims");
    await withoutPause(shims);
    const { code, said } = await start(folder.path, `${shims}:`).end();
    assert.equal(code, 75);
    assert.match(said, /another deploy, from test, works on it/);
    assert.equal((await first.end()).code, 0);
    assert.deepEqual(names(folder.path), ["shims", "token"]);
  },
});

Deno.test({
  name: "of two scripts that find the same stale lock, the slower one does not remove the new lock",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const [config, shims] = [join(folder.path, "config"), join(folder.path, "shims")];
    Deno.mkdirSync(config);
    await withoutPause(shims);
    await killedOwner(config);
    // The second `ln` is the one after the lock was found stale.
    await Deno.writeTextFile(
      join(shims, "ln"),
      `#!/bin/sh
if [ -e ${shims}/first ] && [ ! -e ${shims}/waits ]; then
  touch ${shims}/waits
  until [ -e ${shims}/go ]; do sleep 0.02; done
fi
touch ${shims}/first
exec env PATH="\${PATH#*:}" ln "$@"
`,
      { mode: 0o755 },
    );
    const slow = start(config, `${shims}:`);
    await eventually(5_000, () => names(shims).includes("waits"));
    const fast = start(config);
    await fast.holds();
    await Deno.writeTextFile(join(shims, "go"), "");
    const { code, said } = await slow.end();
    assert.equal(code, 75, said);
    await fast.holds();
    assert.equal((await fast.end()).code, 0);
    assert.deepEqual(names(config), ["token"]);
  },
});

Deno.test({
  name: "a script that is killed while it removes a stale lock is no hindrance",
  ignore,
  async fn() {
    await using folder = await temporaryFolder();
    const config = folder.path;
    await killedOwner(config);
    const [pid, , since] = Deno.readLinkSync(join(config, "deploy.lock")).split(" ");
    // What the second script leaves if it is killed right after it has taken the claim.
    await Deno.symlink(`${pid} gone 1 test`, join(config, `deploy.lock.of.${pid}.${since}`));
    assert.deepEqual(await start(config).end(), { code: 0, said: "" });
    assert.deepEqual(names(config), ["token"]);
  },
});
