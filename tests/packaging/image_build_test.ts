/** What scripts/image-build puts into an image, on an engine that keeps the seed instead of building. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { tempHome } from "../support/home.ts";

const script = join(import.meta.dirname!, "../../scripts/image-build");

const engine = `#!/bin/sh
echo "$*" >>"$OUT/log"
for context; do :; done
[ ! -d "$context/seed" ] || cp -a "$context/seed" "$OUT/seed"
`;

async function build(more: Record<string, string>, hasState = true) {
  const home = await tempHome();
  const at = (...names: string[]) => join(home.path, ...names);
  const { command, args } = agent.command();
  const line = [command, ...args].map((word) => `'${word}'`).join(" ");
  await Deno.writeTextFile(at("agent"), `#!/bin/sh\nexec ${line} "$@"\n`, { mode: 0o755 });
  await Deno.writeTextFile(at("engine"), engine, { mode: 0o755 });
  if (hasState) assert.equal((await agent.run(["tls", "init"], { home })).code, 0);
  const settings = { ENGINE: at("engine"), OUT: home.path, AGENT: at("agent") };
  const { AGENT_TLS_DIR: tls, ...env } = home.env;
  const ran = await new Deno.Command(script, {
    args: ["localhost/agent:baked"],
    env: { ...env, AGENT_TLS_DIR: tls!, ...settings, ...more },
    clearEnv: true,
  }).output();
  const names: string[] = [];
  const walk = async (folder: string, prefix = "") => {
    for await (const { name, isDirectory } of Deno.readDir(folder)) {
      if (isDirectory) await walk(join(folder, name), `${prefix}${name}/`);
      else names.push(`${prefix}${name}`);
    }
  };
  await walk(at("seed")).catch(() => {});
  return {
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
    code: ran.code,
    stderr: new TextDecoder().decode(ran.stderr),
    names: names.sort(),
    read: (path: string) => Deno.readTextFile(at("seed", path)),
    own: (path: string) => Deno.readTextFile(join(home.tls, path)),
    calls: await Deno.readTextFile(at("log")).catch(() => ""),
  };
}

const without = [
  "tls/ca-bundle.crt",
  "tls/ca/ca.crt",
  "tls/config.yaml",
  "tls/server.crt",
  "tls/server.key",
];

Deno.test("the state of a host is baked without the CA's key, which has a switch of its own", async () => {
  await using baked = await build({ TLS_BAKE_FROM_HOST: "1" });
  assert.equal(baked.code, 0, baked.stderr);
  assert.deepEqual(baked.names, without);
  assert.equal(await baked.read("tls/server.key"), await baked.own("server.key"));
  assert.match(baked.stderr, /This image is a secret: it holds a private key\.\n/);
  await using whole = await build({ TLS_BAKE_FROM_HOST: "1", TLS_BAKE_CA_KEY: "1" });
  assert.deepEqual(whole.names, [...without, "tls/ca/ca.key", "tls/ca/ca.srl"].sort());
  assert.match(whole.stderr, /a private key and the key of the CA\./);
  const off = { TLS_BAKE_NEW_LEAF: "false", TLS_BAKE_CA_KEY: "0" };
  await using switched = await build({ TLS_BAKE_FROM_HOST: "true", ...off });
  assert.deepEqual(switched.names, without);
  assert.equal(await switched.read("tls/server.key"), await switched.own("server.key"));
});

Deno.test("an image gets a certificate of its own where one is asked for", async () => {
  await using baked = await build({ TLS_BAKE_FROM_HOST: "1", TLS_BAKE_NEW_LEAF: "1" });
  assert.equal(baked.code, 0, baked.stderr);
  assert.deepEqual(baked.names, without);
  assert.equal(await baked.read("tls/ca/ca.crt"), await baked.own("ca/ca.crt"));
  for (const file of ["server.crt", "server.key"]) {
    assert.notEqual(await baked.read(`tls/${file}`), await baked.own(file));
  }
});

Deno.test("image-build refuses what contradicts itself or is not there, and builds nothing", async () => {
  for (
    const [env, said] of [
      [{ TLS_BAKE_FROM_HOST: "1", TLS_BAKE_FROM_DIR: "/tmp" }, /are both set; give one/],
      [{ TLS_BAKE_CA_KEY: "1" }, /need TLS_BAKE_FROM_HOST=1 or TLS_BAKE_FROM_DIR=DIR/],
      [{ TLS_BAKE_FROM_HOST: "1", TLS_BAKE_CA_KEY: "no" }, /TLS_BAKE_CA_KEY is "no"/],
      [{ TLS_BAKE_FROM_DIR: "/no/such" }, /there is no CA in "\/no\/such"/],
    ] as [Record<string, string>, RegExp][]
  ) {
    await using refused = await build(env, false);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, said);
    assert.equal(refused.calls, "");
  }
});
