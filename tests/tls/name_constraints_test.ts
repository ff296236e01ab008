/** What a CA that is limited to some names may certify: install and OpenSSL agree. */
import assert from "node:assert/strict";
import { component, programs } from "../support/component.ts";
import { output, type TlsLab, tlsLab } from "../support/tls.ts";
import { UserError } from "../../src/base/errors.ts";
import { install } from "../../src/pki/operations/install.ts";

interface Case {
  constraints: string;
  san?: string;
  subject?: string;
  /** What the refusal says; undefined where there is none. */
  refusal?: RegExp;
  /** Where OpenSSL decides otherwise. */
  openssl?: "accepts" | "refuses";
}

const dns = "critical,permitted;DNS:corp.example";
const ip = "critical,permitted;IP:10.0.0.0/255.0.0.0";
const only = /may certify only/;
const not = /may not certify/;

const cases: Case[] = [
  { constraints: dns, san: "DNS:gpu1.corp.example" },
  { constraints: dns, san: "DNS:corp.example" },
  { constraints: dns, san: "DNS:GPU1.Corp.Example" },
  { constraints: dns, san: "DNS:*.corp.example" },
  { constraints: dns, san: "DNS:notcorp.example", refusal: only },
  { constraints: dns, san: "DNS:gpu1.corp.example,DNS:localhost", refusal: only },
  // A form that nothing is said about is free.
  { constraints: dns, san: "DNS:gpu1.corp.example,IP:127.0.0.1" },
  { constraints: "permitted;DNS:corp.example", san: "DNS:other.lan", refusal: only },
  { constraints: "critical,permitted;DNS:.corp.example", san: "DNS:a.b.corp.example" },
  { constraints: "critical,permitted;DNS:.corp.example", san: "DNS:corp.example", refusal: only },
  { constraints: "permitted;DNS:a.lan,permitted;DNS:b.lan", san: "DNS:x.b.lan,DNS:a.lan" },
  { constraints: "critical,excluded;DNS:secret.lan", san: "DNS:open.lan" },
  { constraints: "critical,excluded;DNS:secret.lan", san: "DNS:a.secret.lan", refusal: not },
  {
    constraints: "critical,excluded;DNS:secret.lan",
    san: "DNS:*.lan",
    refusal: not,
    openssl: "accepts",
  },
  { constraints: `${dns},excluded;DNS:x.corp.example`, san: "DNS:x.corp.example", refusal: not },
  { constraints: ip, san: "DNS:a.lan,IP:10.1.2.3" },
  { constraints: ip, san: "IP:192.168.0.1", refusal: /only 10\.0\.0\.0\/255\.0\.0\.0 among addr/ },
  { constraints: ip, san: "IP:fd00::1", refusal: only },
  { constraints: "critical,permitted;IP:fd00::/ff00::", san: "IP:fd12::1" },
  { constraints: "critical,permitted;IP:fd00::/ff00::", san: "IP:fe80::1", refusal: only },
  { constraints: "critical,excluded;IP:10.0.0.0/255.0.0.0", san: "IP:10.0.0.5", refusal: not },
  // The common name counts where there is no other name.
  { constraints: dns, subject: "/CN=gpu1.corp.example" },
  { constraints: dns, subject: "/CN=gpu1.other.example", refusal: only },
  { constraints: dns, subject: "/CN=gpu1" },
  // The runtime's TLS refuses each certificate below a CA that limits directory names.
  ...["/O=Lab/CN=a", "/O=lab /CN=a"].map((subject): Case => ({
    constraints: "critical,permitted;dirName:dn",
    subject,
    san: "DNS:a.lan",
    refusal: /refused in a TLS handshake/,
    openssl: "accepts",
  })),
  {
    constraints: "critical,permitted;dirName:dn",
    subject: "/O=Other/CN=a",
    san: "DNS:a.lan",
    refusal: only,
  },
  // Forms that are not compared: refused where the CA insists and the certificate has such a name.
  { constraints: "critical,permitted;email:corp.example", san: "DNS:a.lan" },
  {
    constraints: "critical,permitted;email:corp.example",
    san: "DNS:a.lan,email:a@corp.example",
    refusal: /limits e-mail addresses in a way that agent cannot check/,
    openssl: "accepts",
  },
  {
    constraints: "critical,excluded;URI:corp.example",
    san: "DNS:a.lan,URI:https://corp.example/",
    refusal: /limits URIs/,
  },
  {
    constraints: "permitted;email:corp.example",
    san: "DNS:a.lan,email:a@corp.example",
    refusal: /limits e-mail/,
    openssl: "accepts",
  },
];

/** A CA with these constraints, directly above the certificate or with an intermediate between. */
async function issue(lab: TlsLab, index: number, { constraints, san, subject }: Case) {
  const at = (name: string) => lab.at(`${index}-${name}`);
  const config = at("openssl.cnf");
  await Deno.writeTextFile(config, "[req]\ndistinguished_name=none\n[none]\n[dn]\nO=Lab\n");
  const make = (name: string, subject: string, extensions: string[], issuer?: string) =>
    output("openssl", [
      ...["req", "-x509", "-config", config, "-newkey", "ec", "-pkeyopt"],
      ...["ec_paramgen_curve:P-256", "-noenc", "-days", "30", "-subj", subject],
      ...["-keyout", at(`${name}.key`), "-out", at(`${name}.crt`)],
      ...extensions.flatMap((extension) => ["-addext", extension]),
      ...issuer === undefined ? [] : ["-CA", at(`${issuer}.crt`), "-CAkey", at(`${issuer}.key`)],
    ]);
  const ca = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"];
  await make("ca", "/O=Lab/CN=Corp CA", [...ca, `nameConstraints=${constraints}`]);
  const between = index % 2 === 1;
  if (between) await make("sub", "/O=Lab/CN=Corp Sub CA", ca, "ca");
  await make("leaf", subject ?? "/O=Lab", [
    "basicConstraints=critical,CA:FALSE",
    ...san === undefined ? [] : [`subjectAltName=${san}`],
  ], between ? "sub" : "ca");
  const files = { cert: at("leaf.crt"), key: at("leaf.key"), ca: at("ca.crt") };
  if (between) {
    const sub = await Deno.readTextFile(at("sub.crt"));
    await Deno.writeTextFile(files.cert, sub, { append: true });
  }
  return files;
}

Deno.test({
  name: "install refuses what a CA with name constraints may not certify",
  ...await component("openssl", programs("openssl")),
  fn: async () => {
    await using lab = await tlsLab();
    for (const [index, one] of cases.entries()) {
      const what = JSON.stringify(one);
      const { cert, key, ca } = await issue(lab, index, one);
      const host = lab.host(`host${index}`);
      const refused = await install(host, { cert, key, ca }).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (one.refusal === undefined) assert.equal(refused, undefined, what);
      else {
        assert.ok(refused instanceof UserError && refused.code === "bad_chain", what);
        assert.match(refused.message, one.refusal, what);
        await assert.rejects(Deno.stat(host.root), Deno.errors.NotFound);
      }
      const verify = ["verify", "-CAfile", ca, "-untrusted", cert, cert];
      const accepts = await output("openssl", verify).then(() => true, () => false);
      const wanted = one.openssl ?? (one.refusal === undefined ? "accepts" : "refuses");
      assert.equal(accepts ? "accepts" : "refuses", wanted, `openssl: ${what}`);
    }
  },
});
