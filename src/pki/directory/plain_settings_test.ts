import { parse } from "@std/yaml";
import assert from "node:assert/strict";
import { readPlain } from "./plain_settings.ts";
import { editSettings } from "./settings_edit.ts";

Deno.test("what tls init writes is read without YAML, and means the same", async () => {
  const san = { hostnames: ["a.lan", "*.b.lan", "localhost"], ips: ["10.0.0.5", "::1"] };
  for (const names of [san, { hostnames: [], ips: [] }]) {
    const text = await editSettings(undefined, { enabled: true, san: names }, "/etc/agent/tls");
    const read = readPlain(text);
    assert.ok(read !== undefined);
    assert.deepEqual(read, parse(text, { schema: "core" }));
  }
});

Deno.test("wherever it reads anything, YAML reads the same", () => {
  const texts = [
    "enabled: true\nserver_cert: /etc/ssl/corp.crt\n",
    "enabled: yes",
    "enabled: ~",
    "server_cert: null",
    "server_cert: a b",
    "server_cert: a # comment",
    "server_cert: 'a'",
    "server_cert: 10",
    "validity_days: 010",
    "validity_days: 1e3",
    "validity_days: 0x10",
    "enabled: true\nenabled: false",
    "san:\n  hostnames: [a, b]\n  ips: []\nenabled: true",
    "san:\n  hostnames:\n    - a\n",
    "san:\n hostnames: [a]",
    "san: {hostnames: [a]}",
    "san:\nenabled: true",
    "san:\n",
    "  enabled: true",
    "enabled:true",
    "server_cert: C:\\tls",
    "server_cert: [a,b]",
    "server_cert: [a, [b]]",
    "a: &x b",
    "a: *x",
    "a: |",
    "---\na: b",
    "",
    "# only a comment\n",
    "enabled: true\r\n",
  ];
  for (const text of texts) {
    const read = readPlain(text);
    if (read === undefined) continue;
    // A key without a value is null to YAML, and has its default here either way.
    const known = JSON.stringify(parse(text, { schema: "core" }) ?? {});
    assert.equal(
      JSON.stringify(read).replaceAll("{}", "null"),
      known.replaceAll("{}", "null"),
      text,
    );
  }
});
