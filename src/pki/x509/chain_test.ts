import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { slowness } from "../../../tests/support/eventually.ts";
import { PkiError } from "../errors.ts";
import { chainOf, isIssuedBy } from "./chain.ts";
import { type Certificate, inspectCertificate } from "./inspect.ts";
import { generateKey, publicKeyOf, webKeyPair } from "./keys.ts";
import { checkDates, isInForce } from "./validate.ts";

const dayMs = 86_400_000;
const begin = Date.UTC(2030, 0, 1);
/** Certificates hold whole seconds, and both ends of their validity belong to it (RFC 5280, 4.1.2.5). */
const secondMs = 1_000;

interface Wanted {
  days: [from: number, to: number];
  isCa: boolean;
  usage: number;
  hash: string;
}

interface Made {
  certificate: Certificate;
  key: KeyObject;
}

const { keyCertSign, cRLSign, digitalSignature } = x509.KeyUsageFlags;

async function make(
  name: string,
  issuer: Made | undefined,
  key: KeyObject,
  wanted: Partial<Wanted> = {},
): Promise<Made> {
  const { days: [from, to] = [0, 100], isCa = true, usage = keyCertSign | cRLSign } = wanted;
  const signer = issuer?.key ?? key;
  const { privateKey } = wanted.hash === undefined
    ? await webKeyPair(signer)
    : { privateKey: await rsaKey(signer, wanted.hash) };
  const made = await x509.X509CertificateGenerator.create({
    publicKey: publicKeyOf(key),
    signingKey: privateKey,
    serialNumber: "01",
    subject: `CN=${name}`,
    issuer: issuer === undefined ? `CN=${name}` : issuer.certificate.subject,
    notBefore: new Date(begin + from * dayMs),
    notAfter: new Date(begin + to * dayMs),
    extensions: [
      new x509.BasicConstraintsExtension(isCa, undefined, true),
      new x509.KeyUsagesExtension(usage, true),
    ],
  });
  return { certificate: inspectCertificate(new Uint8Array(made.rawData)), key };
}

/** For signatures over another hash than we use. */
function rsaKey(key: KeyObject, hash: string): Promise<CryptoKey> {
  const pkcs8 = new Uint8Array(key.export({ type: "pkcs8", format: "der" }));
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash };
  return crypto.subtle.importKey("pkcs8", pkcs8, algorithm, false, ["sign"]);
}

/** How the check of root, intermediate and host ends at a time. */
async function verdict(
  middle: Partial<Wanted>,
  { at = 50 * dayMs, middleKey, root: rootWanted = {} }: {
    at?: number;
    middleKey?: KeyObject;
    root?: Partial<Wanted>;
  } = {},
): Promise<string> {
  const rootKey = middle.hash === undefined ? "ec-p256" : "rsa-3072";
  const root = await make("root", undefined, await generateKey(rootKey), rootWanted);
  const between = await make("middle", root, middleKey ?? await generateKey("ec-p256"), middle);
  const host = { isCa: false, usage: digitalSignature } as const;
  const leaf = await make("host", between, await generateKey("ec-p256"), host);
  try {
    const others = [between.certificate];
    const chain = chainOf(leaf.certificate, others, [root.certificate], "file", {
      now: begin + at,
    });
    return chain.map(({ subject }) => subject).join();
  } catch (error) {
    if (error instanceof PkiError) return error.code;
    throw error;
  }
}

const good = "CN=host,CN=middle,CN=root";

Deno.test("every CA of a chain must be one, by both extensions", async () => {
  assert.equal(await verdict({}), good);
  for (const usage of [digitalSignature, cRLSign]) {
    assert.equal(await verdict({ usage }), "not_a_ca");
    assert.equal(await verdict({}, { root: { usage } }), "not_a_ca");
  }
  assert.equal(await verdict({ isCa: false }), "bad_chain");
  assert.equal(await verdict({}, { root: { isCa: false } }), "not_a_ca");
});

Deno.test("an intermediate must be as strong as a host's certificate", async () => {
  const rsa = (modulusLength: number) => generateKeyPairSync("rsa", { modulusLength }).privateKey;
  assert.equal(await verdict({}, { middleKey: rsa(2048) }), good);
  assert.equal(await verdict({}, { middleKey: rsa(1024) }), "unsupported_key");
  assert.equal(await verdict({ hash: "SHA-256" }), good);
  assert.equal(await verdict({ hash: "SHA-1" }), "bad_certificate");
});

Deno.test("root and intermediate must be valid, from the first second to the last", async () => {
  const days: [number, number] = [10, 60];
  const times: [at: number, wanted: string][] = [
    [10 * dayMs - secondMs, "not_yet_valid"],
    [10 * dayMs - 1, "not_yet_valid"],
    [10 * dayMs, good],
    [60 * dayMs, good],
    [60 * dayMs + 1, "expired"],
    [60 * dayMs + secondMs, "expired"],
    [61 * dayMs, "expired"],
  ];
  for (const [at, wanted] of times) {
    assert.equal(await verdict({ days }, { at }), wanted, `the intermediate at ${at}`);
    assert.equal(await verdict({}, { at, root: { days } }), wanted, `the root at ${at}`);
  }
});

Deno.test("a certificate is in force from its first second to its last", async () => {
  const key = await generateKey("ec-p256");
  const { certificate } = await make("a", undefined, key, { days: [10, 60] });
  const times: [at: number, wanted: "fine" | "expired" | "not_yet_valid"][] = [
    [10 * dayMs - 1, "not_yet_valid"],
    [10 * dayMs, "fine"],
    [60 * dayMs, "fine"],
    [60 * dayMs + 1, "expired"],
  ];
  for (const [at, code] of times) {
    const check = () => checkDates(certificate, "file", begin + at);
    if (code === "fine") check();
    else assert.throws(check, { code }, `at ${at}`);
    assert.equal(isInForce(certificate, begin + at), code === "fine", `at ${at}`);
  }
});

Deno.test("a chain has at most 8 intermediates, in any order, and each is issued by the next", async () => {
  const key = await generateKey("ec-p256");
  const root = await make("root", undefined, key);
  const above = [root];
  for (let at = 1; at <= 9; at++) above.push(await make(`ca${at}`, above.at(-1), key));
  for (const count of [8, 9]) {
    const leaf = await make("host", above[count], key, { isCa: false, usage: digitalSignature });
    const others = above.slice(1, count + 1).map(({ certificate }) => certificate);
    for (const given of [others, others.toReversed()]) {
      const chain = () =>
        chainOf(leaf.certificate, given, [root.certificate], "file", { now: begin });
      if (count === 8) assert.equal(chain().length, 10);
      else assert.throws(chain, { code: "bad_chain" });
    }
  }
  const other = await make("other", undefined, await generateKey("ec-p256"));
  const [first, second] = [above[1]!.certificate, above[2]!.certificate];
  assert.equal(isIssuedBy(second, first), true);
  // The same key under another name, and the same name with another key.
  assert.equal(isIssuedBy(second, above[3]!.certificate), false);
  assert.equal(isIssuedBy(second, other.certificate), false);
});

Deno.test("of a renewed intermediate and the expired one beside it, the one that holds is taken", async () => {
  const key = await generateKey("ec-p256");
  const root = await make("root", undefined, key);
  const expired = await make("middle", root, key, { days: [0, 10] });
  const renewed = await make("middle", root, key, { days: [5, 100] });
  const leaf = await make("host", renewed, key, { isCa: false, usage: digitalSignature });
  const chainAt = (days: number, ...others: Made[]) =>
    chainOf(
      leaf.certificate,
      others.map(({ certificate }) => certificate),
      [root.certificate],
      "f",
      {
        now: begin + days * dayMs,
      },
    )[1];
  for (const order of [[expired, renewed], [renewed, expired]]) {
    assert.equal(chainAt(50, ...order), renewed.certificate);
    assert.equal(chainAt(1, ...order), expired.certificate);
  }
  assert.throws(() => chainAt(50, expired), { code: "expired" });
});

Deno.test("CAs that can be combined in millions of ways are given up soon", async () => {
  const key = await generateKey("ec-p256");
  const named = { a: await make("a", undefined, key), b: await make("b", undefined, key) };
  const others: Certificate[] = [];
  for (let at = 0; at < 10; at++) {
    const days: [number, number] = [0, 50 + at];
    others.push((await make("a", named.b, key, { days })).certificate);
    others.push((await make("b", named.a, key, { days })).certificate);
  }
  const leaf = await make("host", named.a, key, { isCa: false, usage: digitalSignature });
  const root = await make("root", undefined, await generateKey("ec-p256"));
  const began = performance.now();
  assert.throws(() => chainOf(leaf.certificate, others, [root.certificate], "file"), {
    code: "bad_chain",
  });
  // 200 signatures take some 30 ms.
  assert.ok(performance.now() - began < 5_000 * slowness());
});
