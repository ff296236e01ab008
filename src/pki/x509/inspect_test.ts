import assert from "node:assert/strict";
import { output, tlsLab } from "../../../tests/support/tls.ts";
import { initTls } from "../operations/init.ts";
import { inspectCertificate, readCertificates, readPair } from "./inspect.ts";

Deno.test("a certificate reads as OpenSSL prints it", async () => {
  await using lab = await tlsLab();
  const at = (name: string) => lab.at(name);
  await output(
    "openssl",
    ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9"]
      .concat(["-subj", "/C=DE/O=Größe & Söhne/CN=a.lan", "-utf8", "-set_serial", "0x0a0b0c"])
      .concat(["-addext", "subjectAltName=DNS:A.lan,IP:::1,email:a@b.c,URI:x:y"])
      .concat(["-keyout", at("key"), "-out", at("crt")]),
  );
  const [certificate] = readCertificates(at("crt"));
  assert.equal(certificate!.subject, "C=DE, O=Größe & Söhne, CN=a.lan");
  assert.equal(certificate!.commonName, "a.lan");
  assert.deepEqual([certificate!.hostnames, certificate!.ips], [["A.lan"], ["::1"]]);
  assert.deepEqual([certificate!.keyType, certificate!.isCa], ["rsa-2048", true]);
  const printed = async (what: string) =>
    (await output("openssl", ["x509", "-in", at("crt"), "-noout", ...what.split(" ")])).trim();
  assert.equal(await printed("-serial"), `serial=${certificate!.serial}`);
  const fingerprint = await printed("-fingerprint -sha256");
  assert.equal(fingerprint.split("=")[1], certificate!.fingerprint);
  const end = new Date((await printed("-enddate")).split("=")[1]!);
  assert.deepEqual(certificate!.notAfter, end);
  assert.equal(inspectCertificate(certificate!.der).fingerprint, certificate!.fingerprint);
});

Deno.test("names cannot steer a terminal", async () => {
  await using lab = await tlsLab();
  await output(
    "openssl",
    ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-utf8", "-subj"]
      .concat(["/CN=a\u001b[31mred\u202e", "-keyout", lab.at("key"), "-out", lab.at("crt")]),
  );
  const [certificate] = readCertificates(lab.at("crt"));
  assert.equal(certificate!.subject, "CN=a\\u001b[31mred\\u202e");
  assert.doesNotMatch(certificate!.subject, /[\p{Cc}\p{Cf}]/u);
});

Deno.test("a reader that meets two generations waits for the writer", async () => {
  await using lab = await tlsLab();
  const [a, b] = [lab.host("a"), lab.host("b")];
  await initTls(a);
  await initTls(b);
  const cert = lab.at("crt");
  const key = lab.at("key");
  await Deno.copyFile(`${a.root}/server.crt`, cert);
  await Deno.copyFile(`${b.root}/server.key`, key);
  const read = readPair(cert, key);
  await Deno.copyFile(`${b.root}/server.crt`, cert);
  const [wanted] = readCertificates(`${b.root}/server.crt`);
  assert.equal((await read).certificate.fingerprint, wanted!.fingerprint);
  await Deno.copyFile(`${a.root}/server.crt`, cert);
  await assert.rejects(readPair(cert, key), { code: "key_mismatch" });
});
