import assert from "node:assert/strict";
import { output, tlsLab } from "../../../tests/support/tls.ts";
import { initTls } from "../operations/init.ts";
import { importCa } from "../operations/import.ts";
import { mint } from "../operations/mint.ts";
import { inspectCertificate, readCertificates, readKey } from "./inspect.ts";
import { certificatePem } from "./pem.ts";
import { checkIsCa } from "./validate.ts";

Deno.test("a file in another format is named, and the command of the error converts it", async () => {
  await using lab = await tlsLab();
  const at = (name: string) => lab.at(name);
  const openssl = (line: string) => output("sh", ["-c", `openssl ${line}`], lab.path);
  await openssl("req -x509 -newkey ed25519 -nodes -subj /CN=a -keyout a.key -out a.crt");
  await openssl("x509 -in a.crt -outform DER -out der");
  await openssl("x509 -in a.crt -addtrust serverAuth -trustout -out trusted");
  await openssl("crl2pkcs7 -nocrl -certfile a.crt -out p7.pem");
  await openssl("crl2pkcs7 -nocrl -certfile a.crt -outform DER -out p7.der");
  await openssl("pkcs12 -export -in a.crt -inkey a.key -passout pass: -out p12");
  await output("sh", ["-c", "iconv -t UTF-16 a.crt > utf16"], lab.path);
  const cases: [file: string, what: RegExp][] = [
    ["der", /is a certificate in DER/],
    ["trusted", /OpenSSL's own trust settings/],
    ["p7.pem", /PKCS#7/],
    ["p7.der", /PKCS#7 .* in DER/],
    ["p12", /PKCS#12/],
    ["utf16", /UTF-16/],
  ];
  for (const [file, what] of cases) {
    const error = refusal(() => readCertificates(at(file)));
    assert.match(error.message, what);
    const command = error.next!.replace(/;.*/, "").replace("pkcs12", "pkcs12 -passin pass:");
    await output("sh", ["-c", command], lab.path);
    const converted = await Deno.stat(at("converted.crt")).then(() => "crt", () => "pem");
    const [found] = readCertificates(at(`converted.${converted}`));
    assert.equal(found!.fingerprint, readCertificates(at("a.crt"))[0]!.fingerprint, file);
    await Deno.remove(at(`converted.${converted}`));
  }
  await openssl("pkey -in a.key -outform DER -out key.der");
  assert.match(refusal(() => readKey(at("key.der"))).message, /private key in DER/);
  await openssl("req -new -key a.key -subj /CN=a -outform DER -out csr.der");
  await openssl("req -new -key a.key -subj /CN=a -out csr");
  assert.match(refusal(() => readCertificates(at("csr"))).message, /certificate request/);
  const holder = lab.host("a");
  await initTls(holder);
  const asked = mint(holder, { out: at("out"), csr: at("csr.der"), hostnames: ["a.lan"] });
  await assert.rejects(asked, { code: "not_pem", message: /certificate request in DER/ });
});

Deno.test("a CA whose serial number is not minimal DER does not get into a bundle", async () => {
  await using lab = await tlsLab();
  const { ca } = await initTls(lab.host("a"));
  // The serial number stands after both headers and the version, and its length is one byte.
  const at = 4 + 4 + 5;
  const der = new Uint8Array([...ca.der.slice(0, at + 2), 0, ...ca.der.slice(at + 2)]);
  if (ca.der[at + 2] === 0) der[at + 2] = 0;
  for (const place of [3, 7, at + 1]) der[place]!++;
  const padded = inspectCertificate(der);
  assert.equal(padded.serial.replace(/^(00)+/, ""), ca.serial);
  assert.throws(() => checkIsCa(padded, "x"), { code: "bad_certificate", message: /DER/ });
  await Deno.writeTextFile(lab.at("odd.crt"), certificatePem(padded.der));
  const peer = lab.host("b");
  await assert.rejects(importCa(peer, lab.at("odd.crt")), { code: "bad_certificate" });
  await assert.rejects(Deno.stat(peer.root), Deno.errors.NotFound);
});

Deno.test("a certificate twice in its file counts once", async () => {
  await using lab = await tlsLab();
  const { server } = await initTls(lab.host("a"));
  await Deno.writeTextFile(lab.at("twice"), certificatePem(server.der).repeat(2));
  assert.equal(readCertificates(lab.at("twice")).length, 1);
});

function refusal(run: () => unknown): { message: string; next?: string } {
  try {
    run();
  } catch (error) {
    return error as { message: string; next?: string };
  }
  throw new Error("It was accepted");
}
