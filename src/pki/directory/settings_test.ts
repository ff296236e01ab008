import assert from "node:assert/strict";
import { parseTlsSettings, readTlsSettings, tlsPaths, tlsRoot } from "./settings.ts";

const root = "/etc/agent/tls";

Deno.test("without a directory everything has its default and is off", async () => {
  const settings = await readTlsSettings("/nowhere/at/all");
  assert.equal(settings.exists, false);
  assert.equal(settings.enabled, false);
  assert.equal(settings.validityDays, 825);
  assert.equal(settings.caValidityDays, 3650);
  assert.equal(settings.serverKey, "/nowhere/at/all/server.key");
});

Deno.test("paths may be relative to the directory or lead elsewhere", async () => {
  const settings = await parseTlsSettings(
    "enabled: true\nserver_cert: /etc/ssl/corp.crt\nserver_key: ../corp/corp.key\nca_cert: ca/ca.crt\n",
    root,
  );
  assert.equal(settings.serverCert, "/etc/ssl/corp.crt");
  assert.equal(settings.serverKey, "/etc/agent/corp/corp.key");
  assert.equal(settings.pendingKey, "/etc/agent/corp/corp.key.next");
  assert.equal(settings.caCert, tlsPaths(root).caCert);
  assert.equal(settings.enabled, true);
});

Deno.test("unknown keys are named, names are brought into one form", async () => {
  const settings = await parseTlsSettings(
    "san:\n  hostnames: [A.lan]\n  ips: ['::0001']\n  mails: []\ncolour: red\n",
    root,
  );
  assert.deepEqual(settings.san, { hostnames: ["a.lan"], ips: ["::1"] });
  assert.deepEqual(settings.unknownKeys, ["colour", "san.mails"]);
});

Deno.test("an empty file is a directory with defaults", async () => {
  assert.equal((await parseTlsSettings("", root)).exists, true);
  assert.equal((await parseTlsSettings("# nothing\n", root)).autoOnNonLoopback, true);
});

Deno.test("what a key cannot hold is one clear error with exit code 2", async () => {
  const bad = [
    "enabled: perhaps",
    "enabled: 1",
    "server_cert: [a]",
    "server_cert: ''",
    "validity_days: 0",
    "validity_days: 1.5",
    "ca_validity_days: 99999999",
    "- a list",
    "just text",
    "{",
    "a: 1\na: 2",
    // Each would be written over the other.
    "ca_bundle: ca/ca.key",
    "ca_serial: ca/../ca/ca.key",
    "server_cert: server.key",
    "ca_bundle: /etc/company/ca.crt\nca_cert: /etc/company/ca.crt",
    "ca_serial: config.yaml",
    "ca_key: server.key.next",
    "trusted_dir: .",
  ];
  for (const text of bad) {
    await assert.rejects(
      parseTlsSettings(text, root),
      { code: "bad_settings", exit: 2, file: `${root}/config.yaml` },
      text,
    );
  }
});

Deno.test("a fault in san is kept apart, with the names that are good", async () => {
  const cases: [string, string[], RegExp][] = [
    ["san: [a]", [], /"san" is not a mapping/],
    ["san: 5", [], /"san" is not a mapping/],
    ["san: {hostnames: a.lan}", [], /"san.hostnames" is not a list/],
    ["san: {hostnames: [1, a.lan]}", ["a.lan"], /no text/],
    ["san: {ips: [a.lan]}", [], /"a.lan" is not an IP address/],
    ["san: {hostnames: ['*', a.lan, 10.0.0.5]}", ["a.lan"], /"\*" is not a host name/],
  ];
  for (const [text, hostnames, fault] of cases) {
    const settings = await parseTlsSettings(text, root);
    assert.deepEqual(settings.san, { hostnames, ips: [] }, text);
    assert.match(settings.sanFault!.message, fault, text);
  }
  assert.equal((await parseTlsSettings("san: ~", root)).sanFault, undefined);
});

Deno.test("certificate and key may be in one file of another program", async () => {
  const text = "server_cert: /etc/company/both.pem\nserver_key: /etc/company/both.pem";
  const { serverCert, serverKey } = await parseTlsSettings(text, root);
  assert.equal(serverCert, serverKey);
});

Deno.test("AGENT_TLS_DIR replaces the folder below the configuration", () => {
  const env = (dir?: string) => ({ configRoot: "/home/a/.config/agent", variable: () => dir });
  assert.equal(tlsRoot(env()), "/home/a/.config/agent/tls");
  assert.equal(tlsRoot(env("")), "/home/a/.config/agent/tls");
  assert.equal(tlsRoot(env("/srv/tls/")), "/srv/tls");
});
