import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import assert from "node:assert/strict";
import { issueCa, issueLeaf, type Issuer } from "./sign.ts";
import { generateKey, publicKeyOf } from "./keys.ts";
import { keyTypes } from "./key_types.ts";
import { loopbackNames } from "./names.ts";

async function caWith(keyType: (typeof keyTypes)[number], now = Date.now()): Promise<Issuer> {
  const key = await generateKey(keyType);
  const { certificate } = issueCa({ commonName: "Größe CA", key, days: 3650, now });
  return { certificate, others: [], key };
}

Deno.test("what is put together here, an independent library reads and verifies", async () => {
  const now = Date.now();
  for (const keyType of keyTypes) {
    const issuer = await caWith(keyType);
    const publicKey = publicKeyOf(await generateKey(keyType));
    const names = { hostnames: ["a.lan", "*.b.lan"], ips: ["10.0.0.5", "fd00::5", "::ffff:0:1"] };
    const { certificate, pem } = issueLeaf({ issuer, publicKey, names, days: 825, now });
    const ca = new x509.X509Certificate(issuer.certificate.der);
    const leaf = new x509.X509Certificate(pem);
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
  const { certificate } = issueLeaf({ issuer, publicKey, names, days: 825, now });
  assert.deepEqual(certificate.hostnames, [...hostnames, ...loopbackNames.hostnames]);
  assert.equal(certificate.notAfter.getUTCFullYear(), 2052);
  assert.deepEqual(new x509.X509Certificate(certificate.der).notAfter, certificate.notAfter);
});
