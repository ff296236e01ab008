/** The script that looks at a peer, run here by the shells and programs that peers have. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { asRoot, component, networkNamespaces, programs } from "../../tests/support/component.ts";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import { executableScript } from "./change_scripts.ts";
import { type Facts, preflightScript, readFacts } from "./preflight.ts";

/**
 * Runs it in a network namespace of its own, where nothing runs but a program that looks like a
 * worker.
 */
async function look(home: string, shell: string, path: string): Promise<Facts> {
  const script = `
    "$0/agent" worker --worker.slots=7 '--worker.id=a b' &
    worker=$!
    ${shell} -c "$1"
    kill $worker`;
  const { stdout, stderr } = await new Deno.Command("unshare", {
    args: ["--net", "/bin/sh", "-c", script, home, `want_sum=\n${preflightScript}`],
    env: {
      ...{ HOME: home, PATH: path },
      ...{ XDG_CONFIG_HOME: join(home, "config"), XDG_STATE_HOME: join(home, "state") },
    },
    clearEnv: true,
  }).output();
  assert.equal(new TextDecoder().decode(stderr), "");
  const facts = readFacts(new TextDecoder().decode(stdout));
  assert.ok(facts);
  return facts;
}

/** Texts of config.yaml, and whether they set peer.insecure. */
const files: [string, boolean][] = [
  ["peer:\n  insecure: true\n", true],
  ["node:\n  insecure: true\npeer:\n  server_name: x\n", false],
  ['"peer": { insecure: false }', true],
  ["peer: # why\n\n  # and\n  cert_file: z\n  'insecure': false", true],
  ["{peer: {insecure: true}}", true],
  ["# peer:\n#   insecure: true\n", false],
];

const namespaces = await component("network namespaces", asRoot, networkNamespaces);
const busybox = await component("busybox", programs("busybox"));

for (const kind of ["the programs of this system", "those of busybox alone"]) {
  const isBusybox = kind.includes("busybox");
  Deno.test({
    name: `a host is looked at with ${kind}`,
    ignore: namespaces.ignore || (isBusybox && busybox.ignore),
    async fn() {
      await using folder = await temporaryFolder();
      const home = folder.path;
      const config = join(home, "config", "agent");
      const services = join(home, "state", "agent", "service");
      for (const each of [config, services]) await Deno.mkdir(each, { recursive: true });
      await Deno.writeTextFile(join(services, "worker.json"), "{}");
      // It waits for somebody who opens the pipe to write.
      await new Deno.Command("mkfifo", { args: [join(home, "pipe")] }).output();
      const waits = '#!/bin/sh\nread -r _ <"${0%/*}/pipe"\n';
      await Deno.writeTextFile(join(home, "agent"), waits, { mode: 0o755 });
      let [path, shell] = [Deno.env.get("PATH")!, "/bin/sh"];
      if (isBusybox) {
        path = join(home, "programs");
        shell = join(path, "sh");
        await Deno.mkdir(path);
        await new Deno.Command("busybox", { args: ["--install", "-s", path] }).output();
      }
      for (const [text, isSet] of files) {
        await Deno.writeTextFile(join(config, "config.yaml"), text);
        const facts = await look(home, shell, path);
        assert.equal(facts.peerInsecureSet, isSet, text);
        assert.deepEqual(facts.roles, ["worker"]);
        assert.deepEqual([facts.configRoot, facts.unwritable], [config, undefined]);
        assert.ok(facts.freeKiB! > 0 && facts.binFreeKiB! > 0);
        if (facts.serviceManager !== "none") continue;
        const args = ["--worker.slots=7", "--worker.id=a b"];
        assert.deepEqual(facts.services, [{ role: "worker", down: false, args }]);
      }
    },
  });
}

Deno.test({
  name: "an executable that was pushed is read again only once it has changed",
  ignore: Deno.build.os === "windows",
  async fn() {
    await using folder = await temporaryFolder();
    const bin = join(folder.path, "bin");
    const programs = join(folder.path, "programs");
    await Deno.mkdir(programs);
    const env = {
      ...{ HOME: folder.path, XDG_STATE_HOME: join(folder.path, "state") },
      ...{ XDG_CONFIG_HOME: join(folder.path, "config") },
      PATH: `${programs}:${bin}:${Deno.env.get("PATH")}`,
    };
    const run = async (script: string, input = "") => {
      const child = new Deno.Command("sh", {
        args: ["-c", script],
        env,
        stdin: "piped",
        stdout: "piped",
      }).spawn();
      const [{ stdout }] = await Promise.all([
        child.output(),
        new Blob([input]).stream().pipeTo(child.stdin),
      ]);
      return new TextDecoder().decode(stdout);
    };
    const sumThere = async () =>
      readFacts(await run(`want_sum=x\n${preflightScript}`))?.agent?.sha256;
    const sumOf = async (text: string) => {
      const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
      return new Uint8Array(bytes).toHex();
    };

    const pushed = "#!/bin/sh\necho 1\n";
    const sum = await sumOf(pushed);
    assert.match(await run(`bin=${bin} sha256=${sum}\n${executableScript}`, pushed), /installed/);
    assert.equal(await sumThere(), sum);
    const reads = '#!/bin/sh\necho "SHA2-256(stdin)= read"\n';
    await Deno.writeTextFile(join(programs, "openssl"), reads, { mode: 0o755 });
    assert.equal(await sumThere(), sum);

    const { mtime, atime } = await Deno.stat(join(bin, "agent"));
    await Deno.writeTextFile(join(bin, "agent"), pushed.replace("1", "2"));
    await Deno.utime(join(bin, "agent"), atime!, mtime!);
    assert.equal(await sumThere(), "read");
  },
});
