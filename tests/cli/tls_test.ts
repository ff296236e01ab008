/** The tls commands, run as a user runs them. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { asRoot, component, programs } from "../support/component.ts";
import { type Home, tempHome } from "../support/home.ts";
import { modeOf } from "../support/tls.ts";

const unprivileged = await component("another user", asRoot, programs("setpriv", "sh"));
const mounts = await component("file systems of its own", asRoot, programs("unshare", "mount"));

/** Runs a command that must succeed. */
async function tls(home: Home, ...args: string[]) {
  const ran = await agent.run(["tls", ...args], { home });
  assert.equal(ran.code, 0, `agent tls ${args.join(" ")}: ${ran.stderr}`);
  return ran;
}

/** Makes a CA on one host and installs a certificate of it on another; finds the files that were made. */
async function makePeer(holder: Home, peer: Home): Promise<(name: string) => string> {
  await tls(holder, "init");
  const folder = join(holder.path, "m");
  await tls(holder, "mint", "-o", folder);
  const at = (name: string) => join(folder, name);
  const files = ["--cert", at("server.crt"), "--key", at("server.key"), "--ca", at("ca.crt")];
  await tls(peer, "install", ...files);
  return at;
}

async function refused(home: Home, code: number, pattern: RegExp, ...args: string[]) {
  const ran = await agent.run(["tls", ...args], { home });
  assert.equal(ran.code, code, `agent tls ${args.join(" ")}: ${ran.stdout}${ran.stderr}`);
  assert.match(ran.stderr, pattern);
  assert.match(ran.stderr, /next: |must be one of/);
  assert.equal(ran.stdout, "");
}

Deno.test("three hosts by the manual path: init, mint, copy, install, renew, extend, retire", async () => {
  await using a = await tempHome();
  await using b = await tempHome();
  await using c = await tempHome();
  const init = await tls(a, "init", "--hostname", "a.lan");
  assert.match(init.stdout, /Made the CA "Agent CA /);
  assert.match(init.stdout, /Next: agent tls mint/);

  await tls(a, "mint", "-o", join(a.path, "b-tls"), "--hostname", "b.lan", "--ip", "10.0.0.6");
  const from = (name: string) => join(a.path, "b-tls", name);
  assert.equal(await modeOf(from("server.key")), 0o600);
  await tls(
    b,
    "install",
    "--cert",
    from("server.crt"),
    "--key",
    from("server.key"),
    "--ca",
    from("ca.crt"),
  );

  await tls(c, "request", "-o", join(c.path, "c.csr"), "--hostname", "c.lan");
  await refused(
    a,
    3,
    /which is not confirmed/,
    "mint",
    "--csr",
    join(c.path, "c.csr"),
    "-o",
    join(a.path, "c-tls"),
  );
  await tls(
    a,
    "mint",
    "--csr",
    join(c.path, "c.csr"),
    "--hostname",
    "c.lan",
    "-o",
    join(a.path, "c-tls"),
  );
  await tls(
    c,
    "install",
    "--cert",
    join(a.path, "c-tls/server.crt"),
    "--ca",
    join(a.path, "c-tls/ca.crt"),
  );

  const prints = new Set<string>();
  for (const home of [a, b, c]) {
    const status = JSON.parse((await tls(home, "status", "--json")).stdout);
    assert.equal(status.enabled, true);
    prints.add(status.ca.fingerprint_sha256);
  }
  assert.equal(prints.size, 1);

  await tls(a, "renew", "--add-hostname", "new.lan");
  const renewed = JSON.parse((await tls(a, "status", "--json")).stdout);
  assert.ok(renewed.server.hostnames.includes("new.lan"));
  const check = await agent.run(["tls", "status", "--check"], { home: a });
  // cron sends a mail for any output.
  assert.deepEqual([check.code, check.stdout, check.stderr], [0, "", ""]);

  // Not asked for a confirmation of what cannot be done.
  await refused(b, 1, /cannot certify others/, "renew", "--ca");
  await refused(a, 3, /must trust/, "renew", "--ca");
  assert.match((await tls(a, "init", "--ca-name", "New")).stdout, /--ca-name .* for a new CA/);
  await refused(b, 3, /cannot be restored/, "clean");
  await tls(b, "clean", "--yes");
  await assert.rejects(Deno.stat(b.tls), Deno.errors.NotFound);
});

Deno.test("the CA is renewed, handed out, and the former one distrusted", async () => {
  await using a = await tempHome();
  await using b = await tempHome();
  const at = await makePeer(a, b);
  await refused(a, 3, /which CA every host must trust/, "renew", "--ca");
  await tls(a, "renew", "--ca", "--yes");
  const ca = join(a.path, "new-ca.crt");
  await tls(a, "export-ca", "-o", ca);
  await tls(b, "install", "--ca", ca);
  const check = await agent.run(["tls", "status", "--check"], { home: b });
  assert.equal(check.code, 3);
  assert.match(check.stdout, /of the previous CA/);
  await refused(b, 3, /needs a new one first/, "renew", "--distrust-previous");
  await tls(a, "mint", "-o", join(a.path, "m"));
  await tls(b, "install", "--cert", at("server.crt"), "--key", at("server.key"));
  assert.match(
    (await tls(b, "renew", "--distrust-previous")).stdout,
    /No longer trusted: previous-/,
  );
  assert.equal((await agent.run(["tls", "status", "--check"], { home: b })).code, 0);
});

Deno.test("two clusters trust each other by import-ca", async () => {
  await using a = await tempHome();
  await using b = await tempHome();
  await tls(a, "init", "--ca-name", "Lab A");
  await tls(b, "init", "--ca-name", "Lab B");
  const exported = await tls(b, "export-ca");
  assert.match(exported.stdout, /^-----BEGIN CERTIFICATE-----\n[^-]+-----END CERTIFICATE-----\n$/);
  const file = join(a.path, "b.crt");
  await Deno.writeTextFile(file, exported.stdout);
  assert.match((await tls(a, "import-ca", file)).stdout, /as lab-b/);
  assert.match((await tls(a, "import-ca", file)).stdout, /already trusted/);
  await tls(b, "renew", "--ca", "--yes");
  await tls(b, "export-ca", "-o", file);
  await refused(a, 3, /already trusted under the name "lab-b"/, "import-ca", file);
  await tls(a, "import-ca", file, "--name", "lab-b-2");
  await refused(a, 1, /is not a CA/, "import-ca", join(a.tls, "server.crt"));
});

Deno.test("a CA comes by standard input, as from another host, and leaves nothing if it is none", async () => {
  await using a = await tempHome();
  await using b = await tempHome();
  await using c = await tempHome();
  await tls(a, "init", "--ca-name", "Lab A");
  const { stdout: stdin } = await tls(a, "export-ca");
  const imported = await agent.run(["tls", "import-ca", "-"], { home: b, stdin });
  assert.match(imported.stdout, /^This host now also trusts "Lab A", as lab-a/);
  const installed = await agent.run(["tls", "install", "--ca", "-"], { home: c, stdin });
  assert.match(installed.stdout, /^This host trusts the CA "Lab A"/);
  const own = (home: Home) => Deno.readTextFile(join(home.tls, "ca-bundle.crt"));
  assert.equal(await own(b), await own(a));
  assert.equal(await own(c), await own(a));
  for (const wrong of ["", "nonsense", "x".repeat(2 ** 20 + 1)]) {
    await using d = await tempHome();
    for (const words of [["import-ca", "-"], ["install", "--ca", "-"]]) {
      const refused = await agent.run(["tls", ...words], { home: d, stdin: wrong });
      assert.equal(refused.code, 1);
      await assert.rejects(own(d), Deno.errors.NotFound);
    }
  }
});

Deno.test("refusals name the flag that overrides them; wrong usage exits with 2", async () => {
  await using a = await tempHome();
  await using b = await tempHome();
  await refused(a, 1, /no CA/, "mint", "-o", join(a.path, "m"));
  await refused(a, 1, /no CA/, "export-ca");
  await refused(a, 1, /no file at/, "enable");
  await refused(a, 2, /needs --cert/, "install");
  await refused(a, 2, /not a host name/, "init", "--hostname", "a b");
  await refused(a, 2, /an address, not a host name/, "init", "--hostname", "10.0.0.1");
  await refused(a, 2, /must be one of/, "init", "--key-type", "rsa-1024");
  await makePeer(a, b);
  await refused(b, 3, /--force/, "init");
  await refused(b, 1, /host that holds the CA/, "mint", "-o", join(b.path, "m"));
  await refused(b, 1, /host that holds the CA/, "renew");
  await refused(a, 3, /within the TLS directory/, "export-ca", "-o", join(a.tls, "ca/ca.key"));
  await Deno.writeTextFile(join(a.tls, "config.yaml"), "enabled: perhaps\n");
  await refused(a, 2, /is not true or false/, "status");
  await tls(a, "clean", "--yes");
});

Deno.test("disable and enable switch and change nothing else", async () => {
  await using a = await tempHome();
  await tls(a, "init");
  const config = join(a.tls, "config.yaml");
  const text = `# mine\n${await Deno.readTextFile(config)}colour: red # kept\n`;
  await Deno.writeTextFile(config, text);
  assert.match((await tls(a, "disable")).stdout, /restart/);
  const off = text.replace("enabled: true", "enabled: false")
    .replace("auto_on_non_loopback: true", "auto_on_non_loopback: false");
  assert.equal(await Deno.readTextFile(config), off);
  const check = await agent.run(["tls", "status", "--check"], { home: a });
  assert.deepEqual([check.code, /agent tls enable/.test(check.stdout)], [3, true]);
  await tls(a, "enable");
  assert.equal(await Deno.readTextFile(config), text);
});

Deno.test("paths in config.yaml that lead elsewhere are honoured, and their files are let be", async () => {
  await using a = await tempHome();
  await using corp = await tempHome();
  await tls(corp, "init", "--ca-name", "Corporate");
  await tls(a, "init");
  const config = join(a.tls, "config.yaml");
  const text = (await Deno.readTextFile(config))
    .replace("server_cert: server.crt", `server_cert: ${join(corp.tls, "server.crt")}`)
    .replace("server_key: server.key", `server_key: ${join(corp.tls, "server.key")}`);
  await Deno.writeTextFile(config, text);
  await tls(a, "import-ca", join(corp.tls, "ca/ca.crt"));
  const status = JSON.parse((await tls(a, "status", "--json")).stdout);
  assert.equal(status.server.issuer, "CN=Corporate");
  const before = await Deno.readTextFile(join(corp.tls, "server.crt"));
  await refused(a, 3, /outside the TLS directory/, "renew");
  await tls(a, "init");
  await tls(a, "renew", "--ca", "--yes");
  await tls(a, "clean", "--yes");
  assert.equal(await Deno.readTextFile(join(corp.tls, "server.crt")), before);
});

Deno.test("symbolic links are followed: the directory, its files, and named files", async () => {
  await using a = await tempHome();
  const real = join(a.path, "real");
  const corp = join(a.path, "corp");
  await Deno.mkdir(real);
  await Deno.mkdir(corp);
  await Deno.symlink(real, a.tls);
  await tls(a, "init");
  for (const name of ["server.crt", "server.key"]) {
    await Deno.rename(join(real, name), join(corp, name));
    await Deno.symlink(join("../corp", name), join(real, name));
  }
  assert.equal((await agent.run(["tls", "status", "--check"], { home: a })).code, 0);
  await Deno.symlink(corp, join(a.path, "out"));
  await tls(a, "export-ca", "-o", join(a.path, "out/ca.crt"));
  await tls(a, "mint", "-o", join(a.path, "out/minted"));
  assert.ok((await Deno.stat(join(corp, "minted/server.key"))).isFile);
  await refused(a, 1, /its folder does not exist/, "mint", "-o", join(a.path, "absent/minted"));
  await tls(a, "clean", "--yes");
  assert.ok((await Deno.stat(join(corp, "server.key"))).isFile);
  assert.deepEqual([...Deno.readDirSync(real)], []);

  await Deno.symlink(join(a.path, "nowhere"), join(a.path, "dangling"));
  const env = { AGENT_TLS_DIR: join(a.path, "dangling") };
  const dangling = await agent.run(["tls", "init"], { home: a, env });
  assert.deepEqual([dangling.code, /Could not write/.test(dangling.stderr)], [1, true]);
});

Deno.test("a CA key kept on another medium is used where it is, and never replaced there", async () => {
  await using a = await tempHome();
  const stick = join(a.path, "stick");
  await Deno.mkdir(stick);
  await tls(a, "init");
  await Deno.rename(join(a.tls, "ca/ca.key"), join(stick, "ca.key"));
  const config = join(a.tls, "config.yaml");
  const text = (await Deno.readTextFile(config))
    .replace("ca_key: ca/ca.key", `ca_key: ${join(stick, "ca.key")}`)
    .replace("ca_serial: ca/ca.srl", `ca_serial: ${join(stick, "ca.srl")}`);
  await Deno.writeTextFile(config, text);
  await tls(a, "mint", "-o", join(a.path, "m"));
  await tls(a, "renew");
  assert.match(await Deno.readTextFile(join(stick, "ca.srl")), /^[0-9A-F]{32}\n$/);
  const key = await Deno.readTextFile(join(stick, "ca.key"));
  await refused(a, 3, /outside the TLS directory/, "renew", "--ca", "--yes");
  await refused(a, 3, /outside the TLS directory/, "init", "--force");
  assert.equal(await Deno.readTextFile(join(stick, "ca.key")), key);
});

Deno.test("a warm spare with a copy of ca/ mints at once for hosts that know the CA", async () => {
  await using a = await tempHome();
  await using spare = await tempHome();
  await tls(a, "init");
  const caFolder = join(spare.tls, "ca");
  await Deno.mkdir(caFolder, { recursive: true });
  for (const name of ["ca.crt", "ca.key", "ca.srl"]) {
    await Deno.copyFile(join(a.tls, "ca", name), join(caFolder, name));
  }
  await tls(spare, "mint", "-o", join(spare.path, "m"), "--hostname", "b.lan");
  const minted = await Deno.readTextFile(join(spare.path, "m/ca.crt"));
  assert.equal(minted, await Deno.readTextFile(join(a.tls, "ca/ca.crt")));
  const status = JSON.parse((await tls(spare, "status", "--json")).stdout);
  assert.deepEqual([status.host, status.enabled], ["ca_holder", false]);
});

Deno.test({
  name: "no key can be read by another user for any instant, at umask 000 in open folders",
  ...unprivileged,
  fn: async () => {
    await using a = await tempHome();
    await Deno.chmod(a.path, 0o755);
    for (const folder of [join(a.path, ".config"), join(a.path, ".config/agent")]) {
      await Deno.chmod(folder, 0o755);
    }
    const stop = join(a.path, "stop");
    const open = async () => {
      for (const folder of [a.tls, join(a.tls, "ca")]) {
        await Deno.mkdir(folder, { recursive: true });
        await Deno.chmod(folder, 0o777);
      }
    };
    await open();
    const loop = `cd ${a.tls}; while [ ! -e ${stop} ]; do
      for f in .*key* *key* ca/.*key* ca/*key* ${a.path}/m/*key* ${a.path}/m/.*key*; do
        [ -r "$f" ] && cat "$f"
      done
    done 2>/dev/null; exit 0`;
    const watcher = new Deno.Command("setpriv", {
      args: ["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", loop],
      stdout: "piped",
    }).spawn();
    const through = ["sh", "-c", 'umask 000; exec "$@"', "sh"];
    const lines = [
      ["init"],
      ["mint", "-o", join(a.path, "m")],
      ["renew"],
      ["renew", "--ca", "--yes"],
      ["init", "--force"],
    ];
    for (const line of lines) {
      const ran = await agent.run(["tls", ...line], { home: a, through });
      assert.equal(ran.code, 0, ran.stderr);
      assert.equal(await modeOf(a.tls), 0o700);
      assert.equal(await modeOf(join(a.tls, "ca")), 0o700);
      assert.equal(await modeOf(join(a.tls, "server.key")), 0o600);
      await open();
    }
    // Files that others must read stay readable at any umask.
    const narrow = ["sh", "-c", 'umask 777; exec "$@"', "sh"];
    assert.equal((await agent.run(["tls", "renew"], { home: a, through: narrow })).code, 0);
    assert.equal(await modeOf(join(a.tls, "server.crt")), 0o644);
    assert.equal(await modeOf(join(a.tls, "server.key")), 0o600);
    await Deno.writeTextFile(stop, "");
    const seen = new TextDecoder().decode((await watcher.output()).stdout);
    assert.equal(seen, "");

    await Deno.chmod(join(a.tls, "server.key"), 0o644);
    const check = await agent.run(["tls", "status", "--check"], { home: a });
    assert.match(check.stdout, /server\.key" has mode 0644/);
    await agent.run(["tls", "enable"], { home: a });
    assert.equal(await modeOf(join(a.tls, "server.key")), 0o600);
  },
});

Deno.test({
  name: "a full or read-only disk gives a clear error and leaves no incomplete file",
  ...mounts,
  fn: async () => {
    await using a = await tempHome();
    await Deno.mkdir(a.tls);
    const inside = (options: string, after: string) => [
      "unshare",
      "--mount",
      "sh",
      "-c",
      `mount -t tmpfs -o ${options} tmpfs ${a.tls}; "$@"; code=$?; ${after}; exit $code`,
      "sh",
    ];
    const list = `ls -A ${a.tls} | grep . && echo LEFT`;
    const full = await agent.run(["tls", "init"], { home: a, through: inside("size=12k", list) });
    assert.equal(full.code, 1, full.stderr);
    assert.match(full.stderr, /the disk is full/);
    assert.doesNotMatch(full.stdout, /LEFT/);
    const readOnly = await agent.run(["tls", "init"], { home: a, through: inside("ro", list) });
    assert.equal(readOnly.code, 1);
    assert.match(readOnly.stderr, /the file system is read-only/);
  },
});

Deno.test({
  name: "without a terminal a command does not wait for a confirmation",
  ignore: Deno.build.os === "windows",
  fn: async () => {
    await using a = await tempHome();
    await tls(a, "init");
    const asked = join(a.path, "b.csr");
    await using b = await tempHome();
    await tls(b, "request", "--hostname", "b.lan", "-o", asked);
    // An open input that never sends anything, like that of some service managers.
    const through = ["sh", "-c", 'p=$(mktemp -u); mkfifo "$p"; exec "$@" <>"$p"', "sh"];
    const lines = [["clean"], ["renew", "--ca"], ["mint", "--csr", asked, "-o", join(a.path, "m")]];
    for (const line of lines) {
      const ran = await agent.run(["tls", ...line], { home: a, through, withinMs: 20_000 });
      assert.equal(ran.code, 3, ran.stderr);
      assert.match(ran.stderr, /\n {2}next: /);
    }
  },
});
