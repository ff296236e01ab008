import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

async function compile(args: string[], env: Record<string, string> = {}) {
  const command = fileURLToPath(new URL("compile", import.meta.url));
  const ran = await new Deno.Command(command, { args, env }).output();
  return { code: ran.code, stderr: new TextDecoder().decode(ran.stderr) };
}

Deno.test("what is no runtime of Deno is refused before anything is built", async () => {
  const { code, stderr } = await compile([], { DENORT_BIN: "/bin/sh" });
  assert.equal(code, 2);
  assert.match(stderr, /\/bin\/sh is not a runtime of Deno/);
});

Deno.test("the runtime from PyPI is refused for another system", async () => {
  const { code, stderr } = await compile(
    ["--runtime-from-pypi", "--target", "aarch64-apple-darwin"],
    { DENORT_BIN: "" },
  );
  assert.equal(code, 2);
  assert.match(stderr, /no runtime for aarch64-apple-darwin/);
});

Deno.test("an unknown option, or a target without a name, is refused", async () => {
  assert.match((await compile(["--tarket"])).stderr, /unknown option "--tarket"/);
  assert.match((await compile(["--target"])).stderr, /--target needs a name/);
});

Deno.test("a failed download of the runtime is reported, with the other way to get it", async () => {
  const { code, stderr } = await compile(["--target", "aarch64-apple-darwin"], {
    DENORT_BIN: "",
    HTTPS_PROXY: "http://127.0.0.1:1",
  });
  assert.equal(code, 1, stderr);
  assert.match(stderr, /could not make the executable[^]*scripts\/compile --runtime-from-pypi/);
});
