import assert from "node:assert/strict";
import { dayMs } from "../../tests/support/tls.ts";
import { PkiError } from "../pki/errors.ts";
import { certify, certifyCa } from "../pki/x509/certify.ts";
import type { Certificate } from "../pki/x509/inspect.ts";
import { generateKey, publicKeyOf } from "../pki/x509/keys.ts";
import { checkChain, coversName } from "./verify.ts";

Deno.test("a name is covered by the alternative names alone", () => {
  const hostnames = ["a.lan", "*.pool.lan", "*.lan", "Mixed.Lan", "xn--bcher-kva.lan"];
  const certificate = { hostnames, ips: ["10.0.0.1", "fd00::1"] } as Certificate;
  const cases: [string, boolean][] = [
    ["a.lan", true],
    ["A.LAN", true],
    ["a.lan.", true],
    ["mixed.lan", true],
    ["bücher.lan", true],
    ["x.pool.lan", true],
    ["x.y.pool.lan", false],
    ["pool.lan", false],
    // A wildcard above a single label would cover too much.
    ["b.lan", false],
    ["10.0.0.1", true],
    ["10.0.0.2", false],
    ["fd00:0::1", true],
    ["fd00::1%eth0", true],
    ["", false],
  ];
  for (const [name, is] of cases) assert.equal(coversName(certificate, name), is, name);
});

Deno.test("of several roots with one key, one that is valid now is enough", async () => {
  const [caKey, key] = [await generateKey("ec-p256"), await generateKey("ec-p256")];
  const now = Date.now();
  const root = (at: number) => certifyCa({ commonName: "CA", key: caKey, days: 30, now: at });
  const [valid, expired, future] = [
    await root(now),
    await root(now - 60 * dayMs),
    await root(now + 60 * dayMs),
  ];
  const names = { hostnames: ["a.lan"], ips: [] };
  const issuer = { certificate: valid, key: caKey, others: [] };
  const leaf = await certify({ issuer, publicKey: publicKeyOf(key), names, days: 9, now });
  const codeOf = (roots: Certificate[]) => {
    try {
      checkChain(leaf, [], roots, now);
      return "fine";
    } catch (error) {
      return error instanceof PkiError ? error.code : error;
    }
  };
  assert.equal(codeOf([valid]), "fine");
  assert.equal(codeOf([expired, future, valid]), "fine");
  assert.equal(codeOf([expired]), "expired");
  assert.equal(codeOf([future]), "not_yet_valid");
  assert.equal(codeOf([]), "bad_chain");
});
