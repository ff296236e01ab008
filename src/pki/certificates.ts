/**
 * Issues certificates. The only file, with the one for requests, that loads the library for it;
 * import it lazily, and while a key is being made.
 */
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { Buffer } from "node:buffer";
import type { Bytes } from "./der.ts";
import { type Certificate, inspectCertificate } from "./inspect.ts";
import { publicKeyOf } from "./keys.ts";
import { loopbackNames, type Names, union } from "./names.ts";
import { certificatePem } from "./pem.ts";

const dayMs = 86_400_000;
/**
 * An hour: hosts without a battery-backed clock, or with one set to local time across a change of
 * daylight saving, start that far behind, and must still reach whoever tells them the time.
 */
export const backdateMs = 3_600_000;
/** X.520 limits a common name to 64 characters, and OpenSSL checks it. */
const maxCommonName = 64;

export interface Issued {
  certificate: Certificate;
  pem: string;
}

/** A CA that can sign. */
export interface Issuer {
  certificate: Certificate;
  /** What else its file holds: the way up to a root where it is none itself. */
  others: Certificate[];
  key: CryptoKey;
}

/** Makes a self-signed CA. It certifies hosts only, no further CA: a path length of 0. */
export async function issueCa(
  { commonName, keys, days, now }: {
    commonName: string;
    keys: CryptoKeyPair;
    days: number;
    now: number;
  },
): Promise<Issued> {
  const notBefore = wholeSecond(now - backdateMs);
  const made = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: nameOf(commonName),
    issuer: nameOf(commonName),
    notBefore,
    notAfter: new Date(notBefore.getTime() + days * dayMs),
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    signingAlgorithm: signatureFor(keys.privateKey),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return issued(made);
}

/** Certifies a host's public key, for serving and for calling, no longer than the CA itself lives. */
export async function issueLeaf(
  { issuer, publicKey, names, days, now }: {
    issuer: Issuer;
    publicKey: CryptoKey | Bytes;
    names: Names;
    days: number;
    now: number;
  },
): Promise<Issued> {
  const all = union(names, loopbackNames);
  const ca = issuer.certificate;
  const notBefore = wholeSecond(Math.max(now - backdateMs, ca.notBefore.getTime()));
  const notAfter = Math.min(notBefore.getTime() + days * dayMs, ca.notAfter.getTime());
  const spki = publicKey instanceof Uint8Array ? publicKey : await publicKeyOf(publicKey);
  const key = new x509.PublicKey(spki);
  // Only RSA is ever used to encrypt a key, in TLS 1.2 and before.
  const isRsa = key.algorithm.name.startsWith("RSA");
  const usage = x509.KeyUsageFlags.digitalSignature |
    (isRsa ? x509.KeyUsageFlags.keyEncipherment : 0);
  const made = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: nameOf(all.hostnames.find((name) => name.length <= maxCommonName) ?? "agent"),
    // The very bytes of the CA's name: others may have encoded it in another way.
    issuer: new x509.Name(ca.subjectDer),
    notBefore,
    notAfter: new Date(notAfter),
    publicKey: key,
    signingKey: issuer.key,
    signingAlgorithm: signatureFor(issuer.key),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(usage, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      alternativeNames(all),
      await x509.SubjectKeyIdentifierExtension.create(key),
      ca.subjectKeyId === undefined
        ? await x509.AuthorityKeyIdentifierExtension.create(new x509.PublicKey(ca.publicKey))
        : new x509.AuthorityKeyIdentifierExtension(hex(ca.subjectKeyId)),
    ],
  });
  return issued(made);
}

export function alternativeNames(names: Names): x509.SubjectAlternativeNameExtension {
  return new x509.SubjectAlternativeNameExtension([
    ...names.hostnames.map((value) => ({ type: "dns" as const, value })),
    ...names.ips.map((value) => ({ type: "ip" as const, value })),
  ]);
}

export function nameOf(commonName: string): x509.Name {
  return new x509.Name([{ CN: [{ utf8String: commonName }] }]);
}

/** The hash goes with the strength of the key that signs. */
export function signatureFor(key: CryptoKey): EcdsaParams {
  const { namedCurve } = key.algorithm as { namedCurve?: string };
  return { name: key.algorithm.name, hash: namedCurve === "P-384" ? "SHA-384" : "SHA-256" };
}

/**
 * 128 random bits, as many as CAs of the public web must have at least half of; the first byte is
 * not 0, so that every program writes the same digits.
 */
function randomSerial(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  while (bytes[0] === 0) crypto.getRandomValues(bytes.subarray(0, 1));
  return hex(bytes);
}

function issued(made: x509.X509Certificate): Issued {
  const der = new Uint8Array(made.rawData);
  return { certificate: inspectCertificate(der), pem: certificatePem(der) };
}

function hex(bytes: Bytes): string {
  return Buffer.from(bytes).toString("hex");
}

/** Certificates hold no fractions of a second. */
function wholeSecond(ms: number): Date {
  return new Date(Math.floor(ms / 1000) * 1000);
}
