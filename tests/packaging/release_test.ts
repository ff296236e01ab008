/** scripts/release, with a script in place of the executable. */
import assert from "node:assert/strict";
import { join } from "node:path";
import manifest from "../../deno.json" with { type: "json" };
import { component, findProgram, programs } from "../support/component.ts";
import { temporaryFolder } from "../support/temporary.ts";
import { output } from "../support/tls.ts";

const root = join(import.meta.dirname!, "../..");
const { version } = manifest;
const cpu = { x86_64: "x64", aarch64: "arm64" }[Deno.build.arch];
const debian = { x86_64: "amd64", aarch64: "arm64" }[Deno.build.arch];
const folder = `agent-${version}-linux-${cpu}`;

async function release(executable: string, out: string): Promise<void> {
  const options = ["--executable", executable, "--out", out];
  const target = `${Deno.build.arch}-unknown-linux-gnu`;
  await output(join(root, "scripts/release"), [...options, target]);
}

/** Whether Python has the validator of CycloneDX. */
async function validator(): Promise<string | undefined> {
  if (await findProgram("python3") === undefined) return "not installed: python3";
  const tried = await new Deno.Command("python3", {
    args: ["-c", "import cyclonedx.validation.json, jsonschema"],
    stderr: "null",
  }).output();
  return tried.success ? undefined : "not installed: cyclonedx-python-lib[json-validation]";
}

Deno.test({
  name: "a release is complete, installable, and the same each time",
  ...await component(
    "a release",
    () => Deno.build.os === "linux" ? undefined : "needs Linux",
    programs("tar", "gzip", "sha256sum", "dpkg", "dpkg-deb", "groff", "bash", "zsh", "fish"),
    validator,
  ),
  async fn(t) {
    await using temporary = await temporaryFolder();
    const at = (...names: string[]) => join(temporary.path, ...names);
    await Deno.writeTextFile(at("fake"), "#!/bin/sh\necho agent 9\n", { mode: 0o755 });
    await release(at("fake"), at("one"));
    const sums = await Deno.readTextFile(at("one/SHA256SUMS"));
    assert.deepEqual(
      sums.trim().split("\n").map((line) => line.slice(66)),
      [
        `${folder}.tar.gz`,
        `agent-${version}.cdx.json`,
        `agent_${version}_${debian}.deb`,
        "install.sh",
      ],
    );
    await t.step("the same commit gives the same files", async () => {
      await release(at("fake"), at("two"));
      assert.equal(await Deno.readTextFile(at("two/SHA256SUMS")), sums);
    });
    await t.step("install.sh installs it", async () => {
      await output("sh", [at("one/install.sh"), "--dir", at("bin")]);
      assert.equal(await output(at("bin/agent"), []), "agent 9\n");
    });
    await t.step("the package installs, and its files belong to root", async () => {
      await Deno.mkdir(at("root/var/lib/dpkg/updates"), { recursive: true });
      await Deno.mkdir(at("root/var/lib/dpkg/info"));
      await Deno.writeTextFile(at("root/var/lib/dpkg/status"), "");
      const deb = at(`one/agent_${version}_${debian}.deb`);
      const force = ["--force-not-root", "--force-depends", "--force-script-chrootless"];
      await output("dpkg", [`--root=${at("root")}`, "--log=/dev/null", ...force, "-i", deb]);
      assert.equal(await output(at("root/usr/bin/agent"), []), "agent 9\n");
      const listed = (await output("dpkg-deb", ["-c", deb])).trim().split("\n");
      for (const line of listed) {
        assert.match(line, /^(drwxr-xr-x|-rw[x-]r-[x-]r-[x-]) root\/root /);
      }
    });
    await output("tar", ["-xzf", at(`one/${folder}.tar.gz`), "-C", at(".")]);
    await t.step("the manual page has no fault", async () => {
      const page = at(folder, "agent.1");
      const shown = await output("groff", ["-man", "-ww", "-Tutf8", page]);
      assert.doesNotMatch(shown, /^\S.*: (warning|error): /m);
      assert.match(shown, /PEER…/);
    });
    await t.step("shells accept the completions", async () => {
      const files = { bash: "agent.bash", zsh: "_agent", fish: "agent.fish" };
      for (const [shell, file] of Object.entries(files)) {
        assert.equal(await output(shell, ["-n", at(folder, "completions", file)]), "");
      }
    });
    await t.step("the list of components is valid CycloneDX", async () => {
      const script = `import sys
from cyclonedx.validation.json import JsonStrictValidator
from cyclonedx.schema import SchemaVersion
sys.exit(JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read()))`;
      await output("python3", ["-c", script, at(`one/agent-${version}.cdx.json`)]);
    });
  },
});
