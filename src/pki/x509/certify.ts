/**
 * Issues certificates (RFC 5280). Loads a library of some weight, @peculiar/x509, which writes and
 * signs them; import this file lazily.
 */
// The library registers its parts through it, so it comes first.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { createHash, type KeyObject } from "node:crypto";
import { type Bytes, child, children, readDer, readOid } from "./der.ts";
import { type Certificate, inspectCertificate, sameBytes } from "./inspect.ts";
import { PkiError } from "../errors.ts";
import type { Issuer } from "./issuer.ts";
import { publicKeyOf, webKeyPair } from "./keys.ts";
import { commonNameFor, loopbackNames, type Names, union } from "./names.ts";
import { type CertificateRole, roleUri } from "./roles.ts";

const dayMs = 86_400_000;
const secondMs = 1000;
/**
 * An hour: hosts without a battery-backed clock, or with one set to local time across a change of
 * daylight saving, start that far behind, and must still reach the host that tells them the time.
 */
const backdateMs = 3_600_000;

/** Makes a self-signed CA. It certifies hosts only, no further CA: a path length of 0. */
export async function certifyCa(
  { commonName, key, days, now }: {
    commonName: string;
    key: KeyObject;
    days: number;
    now: number;
  },
): Promise<Certificate> {
  const keys = await webKeyPair(key);
  const publicKey = publicKeyOf(key);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    keys,
    serialNumber: randomSerial(),
    name: nameOf(commonName).toString(),
    ...validity(now - backdateMs, days),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      new x509.SubjectKeyIdentifierExtension(keyIdOf(publicKey)),
    ],
  });
  return inspectCertificate(new Uint8Array(certificate.rawData));
}

/**
 * Certifies a host's public key, for serving and for calling, no longer than the CA itself lives.
 * A function of its input but for the serial number, which is random.
 *
 * @throws {PkiError} `unsupported_key` where the CA's key is of a kind that cannot sign here, and
 * `bad_certificate` where the CA has a name that cannot be written again byte for byte.
 */
export async function certify(
  { issuer, publicKey, names, days, role, now }: {
    issuer: Issuer;
    /** SubjectPublicKeyInfo: of a new key, or of a certificate request. */
    publicKey: Bytes;
    names: Names;
    /** Length of the validity, counted with its first and its last second. */
    days: number;
    /** Limits what the owner may do; undefined for no limit. */
    role?: CertificateRole | undefined;
    /** Milliseconds since the epoch. */
    now: number;
  },
): Promise<Certificate> {
  const all = union(names, loopbackNames);
  const ca = issuer.certificate;
  const span = validity(Math.max(now - backdateMs, ca.notBefore.getTime()), days);
  const { digitalSignature, keyEncipherment } = x509.KeyUsageFlags;
  const { privateKey } = await webKeyPair(issuer.key);
  const made = await x509.X509CertificateGenerator.create({
    publicKey,
    signingKey: privateKey,
    serialNumber: randomSerial(),
    // The very bytes of the CA's name: others may have encoded it in another way.
    issuer: new x509.Name(ca.subjectDer),
    subject: nameOf(commonNameFor(all)),
    notBefore: span.notBefore,
    notAfter: span.notAfter < ca.notAfter ? span.notAfter : ca.notAfter,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(
        // Only RSA is ever used to encrypt a key, in TLS 1.2 and before.
        isRsa(publicKey) ? digitalSignature | keyEncipherment : digitalSignature,
        true,
      ),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.SubjectAlternativeNameExtension([
        ...all.hostnames.map((value) => ({ type: "dns" as const, value })),
        ...all.ips.map((value) => ({ type: "ip" as const, value })),
        ...role === undefined ? [] : [{ type: "url" as const, value: roleUri(role) }],
      ]),
      new x509.SubjectKeyIdentifierExtension(keyIdOf(publicKey)),
      new x509.AuthorityKeyIdentifierExtension(
        ca.subjectKeyId?.toHex() ?? keyIdOf(ca.publicKey),
      ),
    ],
  });
  const certificate = inspectCertificate(new Uint8Array(made.rawData));
  // Verifiers find the issuer by comparing these bytes (RFC 5280 section 6.1.3).
  if (!sameBytes(certificate.issuerDer, ca.subjectDer)) {
    throw new PkiError(
      "bad_certificate",
      `The CA "${ca.subject}" has a name in an unusual encoding, which agent cannot write`,
      { next: "Use another CA: agent tls init --force makes one" },
    );
  }
  return certificate;
}

function nameOf(commonName: string): x509.Name {
  return new x509.Name([{ CN: [{ utf8String: commonName }] }]);
}

/**
 * Both ends belong to the validity (RFC 5280 section 4.1.2.5), so the last second is one before the
 * end of the span; certificates hold no fractions of a second.
 */
function validity(startMs: number, days: number): { notBefore: Date; notAfter: Date } {
  const start = Math.floor(startMs / secondMs) * secondMs;
  return { notBefore: new Date(start), notAfter: new Date(start + days * dayMs - secondMs) };
}

/** RFC 5280 section 4.2.1.2, method 1: SHA-1 over the key's bits; it identifies, nothing more. */
function keyIdOf(publicKey: Bytes): string {
  const bits = child(children(readDer(publicKey)), 1);
  return createHash("sha1").update(bits.value.subarray(1)).digest("hex");
}

const rsaEncryption = "1.2.840.113549.1.1.1";

function isRsa(publicKey: Bytes): boolean {
  return readOid(child(children(child(children(readDer(publicKey)), 0)), 0)) === rsaEncryption;
}

/**
 * 128 random bits in hexadecimal, as many as CAs of the public web must have at least half of; the
 * first byte is not 0, so that every program writes the same digits.
 */
function randomSerial(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  while (bytes[0] === 0) crypto.getRandomValues(bytes.subarray(0, 1));
  return bytes.toHex();
}
