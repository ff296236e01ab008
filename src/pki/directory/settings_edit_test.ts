import { parse } from "@std/yaml";
import assert from "node:assert/strict";
import { editSettings } from "./settings_edit.ts";

const root = "/etc/agent/tls";
const san = { hostnames: ["a.lan", "*.b.lan"], ips: ["10.0.0.5", "::1"] };

Deno.test("a new file has every field", async () => {
  const text = await editSettings(undefined, { enabled: true, san }, root);
  assert.deepEqual(parse(text, { schema: "core" }), {
    enabled: true,
    auto_on_non_loopback: true,
    ca_cert: "ca/ca.crt",
    ca_key: "ca/ca.key",
    ca_serial: "ca/ca.srl",
    server_cert: "server.crt",
    server_key: "server.key",
    ca_bundle: "ca-bundle.crt",
    trusted_dir: "trusted",
    san,
    validity_days: 825,
    ca_validity_days: 3650,
    verify_hostname: false,
  });
});

Deno.test("an edit changes its own lines and leaves every other as it is", async () => {
  const cases: [string, string, string][] = [
    ["a value", "# mine\nenabled: false # why\nx: 1\n", "# mine\nenabled: true # why\nx: 1\n"],
    ["an absent key", "x: 1", "x: 1\nenabled: true\n"],
    ["an empty file", "", "enabled: true\n"],
    ["another spacing", "enabled   :   false\n", "enabled: true\n"],
  ];
  for (const [what, before, after] of cases) {
    assert.equal(await editSettings(before, { enabled: true }, root), after, what);
  }
  const block =
    "enabled: true\nsan:\n  hostnames:\n    - old\n    - older\n  ips: []\n# end\nx: 1\n";
  assert.equal(
    await editSettings(block, { san }, root),
    'enabled: true\nsan:\n  hostnames: [a.lan, "*.b.lan"]\n  ips: ["10.0.0.5", "::1"]\n# end\nx: 1\n',
  );
});

Deno.test("a layout that lines cannot edit is written anew with the same content", async () => {
  const text = await editSettings("{enabled: false, colour: red}", { enabled: true, san }, root);
  assert.deepEqual(parse(text, { schema: "core" }), { enabled: true, colour: "red", san });
});
