import assert from "node:assert/strict";
import { output, type TlsLab, tlsLab } from "../../tests/support/tls.ts";
import { parseCertificates, readCertificates } from "../pki/x509/inspect.ts";
import { pemOf } from "../pki/x509/pem.ts";
import { provePair } from "./prove.ts";

const leafExtensions = "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n";
const curve = (name: string) => ["ec", "-pkeyopt", `ec_paramgen_curve:${name}`];

/** A CA and a certificate of it, made by OpenSSL. */
async function pairOf(
  lab: TlsLab,
  key: string[],
  { extensions = leafExtensions, options = ["-days", "9"] } = {},
) {
  const at = lab.at;
  await output(
    "openssl",
    ["req", "-x509", "-newkey", ...curve("P-256"), "-nodes", "-days", "9", "-subj", "/CN=CA"]
      .concat(["-keyout", at("ca.key"), "-out", at("ca.crt")]),
  );
  await output(
    "openssl",
    ["req", "-new", "-newkey", ...key, "-nodes", "-subj", "/CN=a.lan"]
      .concat(["-keyout", at("key"), "-out", at("csr")]),
  );
  await Deno.writeTextFile(at("ext"), extensions);
  await output(
    "openssl",
    ["x509", "-req", "-in", at("csr"), "-CA", at("ca.crt"), "-CAkey", at("ca.key")]
      .concat(["-CAcreateserial", "-extfile", at("ext"), "-out", at("crt"), ...options]),
  );
  const ca = readCertificates(at("ca.crt"));
  return { cert: pemOf(readCertificates(at("crt"))), key: await Deno.readTextFile(at("key")), ca };
}

Deno.test("a pair that TLS can use is proven, with the CA and without", async () => {
  for (const key of [curve("P-256"), curve("P-384"), curve("P-521"), ["rsa:2048"], ["ed25519"]]) {
    await using lab = await tlsLab();
    const made = await pairOf(lab, key);
    await provePair(made.cert, made.key, pemOf(made.ca));
    await provePair(made.cert, made.key, undefined);
  }
});

Deno.test("a pair that TLS refuses is refused, and the error says why", async () => {
  const critical = `${leafExtensions}1.2.3.4=critical,ASN1:UTF8:x\n`;
  const cases: [string[], Parameters<typeof pairOf>[2], string, RegExp][] = [
    [["rsa:1024"], {}, "unsupported_key", /1024 bits/],
    [curve("secp256k1"), {}, "unsupported_key", /unusual kind/],
    [["rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"], {}, "unsupported_key", /RSA-PSS/],
    [curve("P-256"), { extensions: critical }, "bad_certificate", /1\.2\.3\.4/],
    [curve("P-256"), { options: ["-days", "-1"] }, "expired", /expired/],
    [["rsa:2048"], { options: ["-days", "9", "-sha1"] }, "bad_certificate", /SHA-1/],
  ];
  for (const [key, options, code, message] of cases) {
    await using lab = await tlsLab();
    const made = await pairOf(lab, key, options);
    await assert.rejects(
      provePair(made.cert, made.key, pemOf(made.ca)),
      { code, message },
      `${key} ${options?.extensions}`,
    );
  }
});

Deno.test("a pair is refused with another CA, or another key", async () => {
  await using lab = await tlsLab();
  await using other = await tlsLab();
  const [made, foreign] = [
    await pairOf(lab, curve("P-256")),
    await pairOf(other, curve("P-256")),
  ];
  await assert.rejects(provePair(made.cert, made.key, pemOf(foreign.ca)), { code: "bad_chain" });
  await assert.rejects(provePair(made.cert, foreign.key, pemOf(made.ca)), {
    code: "unusable_pair",
  });
});

Deno.test("what our reader understands and TLS does not is proven in its normal form", async () => {
  await using lab = await tlsLab();
  const made = await pairOf(lab, curve("P-256"));
  const odd = made.cert.replaceAll("CERTIFICATE", "X509 CERTIFICATE").replaceAll("\n", "\n  ");
  await assert.rejects(provePair(odd, made.key, pemOf(made.ca)), { code: "unusable_pair" });
  await provePair(pemOf(parseCertificates(odd, "odd")), made.key, pemOf(made.ca));
});
