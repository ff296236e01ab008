import assert from "node:assert/strict";
import { snapshot } from "../../../tests/support/crash_points.ts";
import { dayMs, tlsLab } from "../../../tests/support/tls.ts";
import { importCa } from "./import.ts";
import { initTls } from "./init.ts";
import { readCertificates } from "../x509/inspect.ts";
import { clean } from "./clean.ts";
import { renewCa } from "./renew.ts";
import { request } from "./request.ts";
import { disable, enable } from "./switch.ts";
import { readTlsSettings } from "../directory/settings.ts";

Deno.test("import-ca trusts another CA, once, under a label made from its name", async () => {
  await using lab = await tlsLab();
  const [a, b] = [lab.host("a"), lab.host("b")];
  await initTls(a);
  const { ca } = await initTls(b, { caName: "Läb B: Größe/../x" });
  const file = `${b.root}/ca/ca.crt`;
  assert.deepEqual((await importCa(a, file)).label, "lab-b-gro-e-x");
  const bundle = readCertificates(`${a.root}/ca-bundle.crt`);
  assert.equal(bundle[1]!.fingerprint, ca.fingerprint);
  const before = snapshot(a.root);
  assert.equal((await importCa(a, file)).added, false);
  assert.equal((await importCa(a, file, "other")).label, "lab-b-gro-e-x");
  assert.equal((await importCa(a, `${a.root}/ca/ca.crt`)).label, "ca");
  assert.deepEqual(snapshot(a.root), before);

  await renewCa(b, {});
  await assert.rejects(importCa(a, file), { exit: 3 });
  assert.deepEqual(snapshot(a.root), before);
  assert.equal((await importCa(a, file, "lab-b-2")).added, true);
  assert.equal(readCertificates(`${a.root}/ca-bundle.crt`).length, 3);
});

Deno.test("import-ca takes valid CAs only, and labels that are names", async () => {
  await using lab = await tlsLab();
  const [a, b] = [lab.host("a"), lab.host("b")];
  await initTls(b);
  const file = `${b.root}/ca/ca.crt`;
  await assert.rejects(importCa(a, `${b.root}/server.crt`), { code: "not_a_ca" });
  await assert.rejects(importCa(a, `${b.root}/ca/ca.key`), { code: "no_certificate" });
  const late = { ...a, now: () => Date.now() + 4000 * dayMs };
  await assert.rejects(importCa(late, file), { code: "expired" });
  for (const label of ["../x", "a/b", ".hidden", "", "previous-x", "a b", "x".repeat(65)]) {
    await assert.rejects(importCa(a, file, label), { code: "bad_name", exit: 2 }, label);
  }
  await assert.rejects(Deno.stat(a.root), Deno.errors.NotFound);
  await importCa(a, file);
  assert.equal((await readTlsSettings(a.root)).enabled, false);
});

Deno.test("clean removes the directory, and no folder that is none", async () => {
  await using lab = await tlsLab();
  const a = lab.host("a");
  assert.equal((await clean(a)).removed, false);
  await initTls(a);
  await Deno.writeTextFile(lab.at("a/token"), "kept");
  await clean(a);
  assert.deepEqual([...Deno.readDirSync(lab.at("a"))].map(({ name }) => name), ["token"]);

  const other = { ...a, root: lab.at("thesis") };
  await Deno.mkdir(other.root);
  await Deno.writeTextFile(`${other.root}/chapter1`, "years of work");
  await assert.rejects(clean(other), { exit: 3 });
  assert.deepEqual(Object.keys(snapshot(other.root)), ["chapter1"]);
  // Names that other programs use, too.
  for (const name of ["config.yaml", "server.crt", "server.key"]) {
    await Deno.writeTextFile(`${other.root}/${name}`, "peer: {}\n");
  }
  await assert.rejects(clean(other), { exit: 3 });
  assert.equal(await Deno.readTextFile(`${other.root}/chapter1`), "years of work");
});

Deno.test("a request needs no CA here, and a CA holder makes none", async () => {
  await using lab = await tlsLab();
  const [a, b] = [lab.host("a"), lab.host("b")];
  const { names, pendingKey } = await request(a, { out: lab.at("a.csr") });
  assert.deepEqual(names.hostnames, ["a", "a.lan", "localhost"]);
  assert.match(await Deno.readTextFile(lab.at("a.csr")), /BEGIN CERTIFICATE REQUEST/);
  await assert.rejects(request(a, { out: pendingKey }), { exit: 3 });
  await initTls(b);
  await assert.rejects(request(b, { out: lab.at("b.csr") }), { exit: 3 });
});

Deno.test("the switch needs a certificate to be put on, and none to be put off", async () => {
  await using lab = await tlsLab();
  const a = lab.host("a");
  await assert.rejects(enable(a), { code: "no_server_certificate" });
  assert.equal((await disable(a)).changed, false);
  await assert.rejects(Deno.stat(a.root), Deno.errors.NotFound);
  await initTls(a);
  assert.equal((await disable(a)).changed, true);
  assert.equal((await readTlsSettings(a.root)).autoOnNonLoopback, false);
  assert.equal((await enable(a)).changed, true);
});
