import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import assert from "node:assert/strict";
import { certify, certifyCa } from "./certify.ts";
import type { Issuer } from "./issuer.ts";
import { pemOf } from "./pem.ts";
import { generateKey, publicKeyOf } from "./keys.ts";
import { keyTypes } from "./key_types.ts";
import { loopbackNames } from "./names.ts";
import { readCertificates, readKey } from "./inspect.ts";
import { output, tlsLab } from "../../../tests/support/tls.ts";

async function caWith(keyType: (typeof keyTypes)[number], now = Date.now()): Promise<Issuer> {
  const key = await generateKey(keyType);
  const certificate = await certifyCa({ commonName: "Größe CA", key, days: 3650, now });
  return { certificate, others: [], key };
}

Deno.test("every type of key certifies every other, with the promised extensions", async () => {
  const now = Date.now();
  for (const keyType of keyTypes) {
    const issuer = await caWith(keyType);
    const publicKey = publicKeyOf(await generateKey(keyType));
    const names = { hostnames: ["a.lan", "*.b.lan"], ips: ["10.0.0.5", "fd00::5", "::ffff:0:1"] };
    const certificate = await certify({ issuer, publicKey, names, days: 825, now });
    const ca = new x509.X509Certificate(issuer.certificate.der);
    const leaf = new x509.X509Certificate(pemOf([certificate]));
    assert.equal(await ca.isSelfSigned(), true);
    assert.equal(await leaf.verify({ publicKey: ca.publicKey, signatureOnly: true }), true);
    assert.equal(leaf.issuer, ca.subject);
    assert.equal(leaf.subject, "CN=a.lan");
    assert.equal(ca.subject, "CN=Größe CA");
    assert.equal(leaf.serialNumber.toUpperCase(), certificate.serial);
    assert.deepEqual(leaf.notAfter, certificate.notAfter);
    const san = leaf.getExtension(x509.SubjectAlternativeNameExtension)!.names.items;
    assert.deepEqual(san.map(({ type, value }) => `${type} ${value}`).slice(0, 5), [
      "dns a.lan",
      "dns *.b.lan",
      "dns localhost",
      "ip 10.0.0.5",
      "ip fd00::5",
    ]);
    const ids = [
      leaf.getExtension(x509.AuthorityKeyIdentifierExtension)!.keyId,
      (await x509.SubjectKeyIdentifierExtension.create(ca.publicKey)).keyId,
    ];
    assert.equal(ids[0], ids[1]);
    const usages = leaf.getExtension(x509.KeyUsagesExtension)!.usages;
    assert.equal(usages, keyType === "rsa-3072" ? 5 : 1);
    const constraints = ca.getExtension(x509.BasicConstraintsExtension)!;
    assert.deepEqual([constraints.ca, constraints.pathLength, constraints.critical], [
      true,
      0,
      true,
    ]);
    assert.deepEqual(certificate.ips, ["10.0.0.5", "fd00::5", "::ffff:0:1", "127.0.0.1", "::1"]);
  }
});

Deno.test("a certificate past 2049 and one with hundreds of names are read back as written", async () => {
  const now = Date.UTC(2049, 10, 1);
  const issuer = await caWith("ec-p256", now);
  const publicKey = publicKeyOf(await generateKey("ec-p256"));
  const hostnames = Array.from({ length: 300 }, (_, i) => `host-${i}.example.org`);
  const names = { hostnames, ips: [] };
  const certificate = await certify({ issuer, publicKey, names, days: 825, now });
  assert.deepEqual(certificate.hostnames, [...hostnames, ...loopbackNames.hostnames]);
  assert.equal(certificate.notAfter.getUTCFullYear(), 2052);
  assert.deepEqual(new x509.X509Certificate(certificate.der).notAfter, certificate.notAfter);
});

Deno.test("a CA of another make is named as it names itself, byte for byte", async () => {
  const names = [
    "/C=DE/O=Lab/CN=Root",
    "/C=DE/O=Gr\xf6\xdfe/CN=Root",
    "/DC=org/DC=lab/O=a+OU=b/emailAddress=a@b.c/CN=Root",
    '/O=with, commas = and "quotes"/CN= spaces #',
  ];
  for (const name of names) {
    await using lab = await tlsLab();
    const [keyFile, file] = [lab.at("key"), lab.at("crt")];
    await output(
      "openssl",
      ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", name, "-multivalue-rdn"]
        .concat(["-keyout", keyFile, "-out", file]),
    );
    const issuer = { certificate: readCertificates(file)[0]!, others: [], key: readKey(keyFile) };
    const publicKey = publicKeyOf(await generateKey("ec-p256"));
    const now = Date.now();
    const leaf = await certify({ issuer, publicKey, names: loopbackNames, days: 9, now });
    await Deno.writeTextFile(lab.at("leaf"), pemOf([leaf]));
    assert.match(await output("openssl", ["verify", "-CAfile", file, lab.at("leaf")]), /: OK/);
  }
});

Deno.test("825 days are 825 days, the first and the last second included", async () => {
  const now = Date.UTC(2026, 0, 1, 12, 0, 0, 999);
  const issuer = await caWith("ec-p256", now);
  const publicKey = publicKeyOf(await generateKey("ec-p256"));
  const { notBefore, notAfter } = await certify(
    { issuer, publicKey, names: loopbackNames, days: 825, now },
  );
  assert.equal(notBefore.toISOString(), "2026-01-01T11:00:00.000Z");
  assert.equal(notAfter.getTime() - notBefore.getTime() + 1000, 825 * 86_400_000);
});
