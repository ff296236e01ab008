import assert from "node:assert/strict";
import { dayMs, modeOf, tlsLab } from "../../../tests/support/tls.ts";
import { snapshot } from "../../../tests/support/crash_points.ts";
import { initTls } from "./init.ts";
import { extendedUsage, readCertificates } from "../x509/inspect.ts";
import { install } from "./install.ts";
import { mint } from "./mint.ts";
import { readTlsSettings } from "../directory/settings.ts";

Deno.test("init makes a CA and a server certificate of the promised profile", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a", { detected: { ips: ["10.0.0.5", "fd00::5"] } });
  const now = Date.now();
  const { ca, server } = await initTls(pki);
  assert.equal(ca.subject, "CN=Agent CA a");
  assert.equal(ca.isCa, true);
  assert.deepEqual([...ca.keyUsage!], [5, 6]);
  assert.deepEqual(server.hostnames, ["a", "a.lan", "localhost"]);
  assert.deepEqual(server.ips, ["10.0.0.5", "fd00::5", "127.0.0.1", "::1"]);
  assert.deepEqual(server.extendedKeyUsage, [extendedUsage.serverAuth, extendedUsage.clientAuth]);
  assert.deepEqual(server.authorityKeyId, ca.subjectKeyId);
  assert.equal(server.keyType, "ec-p256");
  assert.match(server.serial, /^[0-9A-F]{32}$/);
  assert.equal(server.notAfter.getTime() - server.notBefore.getTime(), 825 * dayMs - 1000);
  assert.equal(ca.notAfter.getTime() - ca.notBefore.getTime(), 3650 * dayMs - 1000);
  assert.ok(server.notBefore.getTime() < now - 3_000_000);
  assert.equal(await Deno.readTextFile(`${pki.root}/ca/ca.srl`), `${server.serial}\n`);
});

Deno.test("init leaves files and folders with the promised modes", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  const modes = Object.fromEntries(
    Object.entries(snapshot(pki.root)).map(([path, content]) => [path, content.slice(0, 3)]),
  );
  assert.deepEqual(modes, {
    "ca-bundle.crt": "644",
    "ca/": "700",
    "ca/ca.crt": "644",
    "ca/ca.key": "600",
    "ca/ca.srl": "600",
    "config.yaml": "644",
    "server.crt": "644",
    "server.key": "600",
  });
  assert.equal(await modeOf(pki.root), 0o700);
});

Deno.test("init again changes nothing", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  const before = snapshot(pki.root);
  const again = await initTls(pki);
  assert.equal(again.caMade, false);
  assert.equal(again.serverMade, false);
  assert.deepEqual(snapshot(pki.root), before);
});

Deno.test("init again keeps the CA, and replaces a server certificate that no longer fits", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  const first = await initTls(pki);
  const moved = lab.host("a", { detected: { ips: ["10.9.9.9"] } });
  const second = await initTls(moved, { hostnames: ["www.example.org"] });
  assert.equal(second.ca.fingerprint, first.ca.fingerprint);
  assert.match(second.reason!, /did not cover www.example.org, 10.9.9.9/);
  assert.ok(second.server.ips.includes("10.9.9.9"));

  const late = lab.host("a", { now: () => Date.now() + 800 * dayMs, detected: { ips: [] } });
  assert.match((await initTls(late)).reason!, /valid only until/);

  await Deno.remove(`${pki.root}/server.key`);
  assert.equal((await initTls(pki)).reason, "its key was missing");
  await Deno.writeTextFile(`${pki.root}/server.key`, "rubbish");
  assert.equal((await initTls(pki)).reason, "its key did not belong to it");
  const { san } = await readTlsSettings(pki.root);
  assert.ok(san.hostnames.includes("www.example.org"));
});

Deno.test("init makes every type of key, and mixes them with a CA of another", async () => {
  await using lab = await tlsLab();
  for (const keyType of ["ec-p384", "rsa-3072", "ed25519"] as const) {
    const pki = lab.host(keyType);
    const { ca, server } = await initTls(pki, { keyType });
    assert.deepEqual([ca.keyType, server.keyType], [keyType, keyType]);
    const minted = await mint(pki, { out: lab.at(`${keyType}-minted`) });
    assert.equal(minted.certificate.keyType, keyType);
  }
  const pki = lab.host("ed25519");
  const mixed = await initTls(pki, { keyType: "ec-p256", hostnames: ["new.lan"] });
  assert.deepEqual([mixed.ca.keyType, mixed.server.keyType], ["ed25519", "ec-p256"]);
});

Deno.test("init on a peer is refused; forced, it would have cut the peer off", async () => {
  await using lab = await tlsLab();
  const holder = lab.host("a");
  const peer = lab.host("b");
  await initTls(holder);
  await mint(holder, { out: lab.at("b-tls") });
  const files = {
    cert: lab.at("b-tls/server.crt"),
    key: lab.at("b-tls/server.key"),
    ca: lab.at("b-tls/ca.crt"),
  };
  await install(peer, files);
  const before = snapshot(peer.root);
  await assert.rejects(initTls(peer), { exit: 3 });
  assert.deepEqual(snapshot(peer.root), before);
  const forced = await initTls(peer, { force: true });
  assert.equal(forced.caMade, true);
  assert.deepEqual(forced.server.hostnames, ["b", "b.lan", "localhost"]);
  const [trusted] = await readCertificates(`${peer.root}/ca-bundle.crt`);
  assert.equal(trusted!.subject, "CN=Agent CA b");
});

Deno.test("a forced re-key of a CA keeps the former key out of the way", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  const first = await initTls(pki);
  const former = await Deno.readTextFile(`${pki.root}/ca/ca.key`);
  const second = await initTls(pki, { force: true, caName: "New CA" });
  assert.notEqual(second.ca.fingerprint, first.ca.fingerprint);
  assert.equal(second.ca.subject, "CN=New CA");
  assert.equal(await Deno.readTextFile(second.formerCaKey!), former);
  assert.equal(await modeOf(second.formerCaKey!), 0o600);
  assert.equal((await readCertificates(`${pki.root}/ca-bundle.crt`)).length, 1);
});

Deno.test("init says what is wrong with a CA that cannot sign", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await initTls(pki);
  const later = lab.host("a", { now: () => Date.now() + 3660 * dayMs });
  await assert.rejects(initTls(later), { code: "expired" });
  await initTls(lab.host("b"));
  await Deno.copyFile(`${lab.at("b")}/tls/ca/ca.key`, `${pki.root}/ca/ca.key`);
  await assert.rejects(initTls(pki, { hostnames: ["x"] }), { code: "key_mismatch" });
  await Deno.remove(`${pki.root}/ca/ca.crt`);
  await assert.rejects(initTls(pki), { code: "no_ca" });
});

Deno.test("init refuses names that no certificate can hold, before it makes anything", async () => {
  await using lab = await tlsLab();
  const pki = lab.host("a");
  await assert.rejects(initTls(pki, { hostnames: ["a b"] }), { code: "bad_name", exit: 2 });
  await assert.rejects(initTls(pki, { ips: ["a.lan"] }), { code: "bad_name", exit: 2 });
  await assert.rejects(initTls(pki, { caName: "x".repeat(65) }), { code: "bad_name", exit: 2 });
  await assert.rejects(Deno.stat(pki.root), Deno.errors.NotFound);
});
