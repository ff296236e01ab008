/**
 * Issues certificates. They are put together here, byte by byte, as RFC 5280 lays them out, and not
 * with the library that reads requests: loading that takes longer than all the rest of a mint.
 * The tests compare the two, and have the result verified by programs of other makes.
 */
import { createHash, type KeyObject } from "node:crypto";
import { type Bytes, child, children, readDer } from "./der.ts";
import * as der from "./der_write.ts";
import { type Certificate, extendedUsage, inspectCertificate, keyUsageBit } from "./inspect.ts";
import { publicKeyOf, signatureKind, signWith } from "./keys.ts";
import { commonNameFor, ipToBytes, loopbackNames, type Names, union } from "./names.ts";
import { certificatePem } from "./pem.ts";

const dayMs = 86_400_000;
/**
 * An hour: hosts without a battery-backed clock, or with one set to local time across a change of
 * daylight saving, start that far behind, and must still reach whoever tells them the time.
 */
const backdateMs = 3_600_000;

export interface Issued {
  certificate: Certificate;
  pem: string;
}

/** A CA that can sign. */
export interface Issuer {
  certificate: Certificate;
  /** What else its file holds: the way up to a root where it is none itself. */
  others: Certificate[];
  key: KeyObject;
}

/** Makes a self-signed CA. It certifies hosts only, no further CA: a path length of 0. */
export function issueCa(
  { commonName, key, days, now }: {
    commonName: string;
    key: KeyObject;
    days: number;
    now: number;
  },
): Issued {
  const notBefore = wholeSecond(now - backdateMs);
  const publicKey = publicKeyOf(key);
  const { keyCertSign, crlSign } = keyUsageBit;
  return sign(key, {
    issuer: nameOf(commonName),
    subject: nameOf(commonName),
    notBefore,
    notAfter: new Date(notBefore.getTime() + days * dayMs),
    publicKey,
    extensions: [
      critical("2.5.29.19", der.sequence(der.derTrue, der.integer(new Uint8Array(1)))),
      critical("2.5.29.15", der.namedBits([keyCertSign, crlSign])),
      extension("2.5.29.14", der.octetString(keyIdOf(publicKey))),
    ],
  });
}

/** Certifies a host's public key, for serving and for calling, no longer than the CA itself lives. */
export function issueLeaf(
  { issuer, publicKey, names, days, now }: {
    issuer: Issuer;
    /** SubjectPublicKeyInfo. */
    publicKey: Bytes;
    names: Names;
    days: number;
    now: number;
  },
): Issued {
  const all = union(names, loopbackNames);
  const ca = issuer.certificate;
  const notBefore = wholeSecond(Math.max(now - backdateMs, ca.notBefore.getTime()));
  const notAfter = Math.min(notBefore.getTime() + days * dayMs, ca.notAfter.getTime());
  const { digitalSignature, keyEncipherment } = keyUsageBit;
  const { serverAuth, clientAuth } = extendedUsage;
  return sign(issuer.key, {
    // The very bytes of the CA's name: others may have encoded it in another way.
    issuer: ca.subjectDer,
    subject: nameOf(commonNameFor(all)),
    notBefore,
    notAfter: new Date(notAfter),
    publicKey,
    extensions: [
      critical("2.5.29.19", der.sequence()),
      // Only RSA is ever used to encrypt a key, in TLS 1.2 and before.
      critical(
        "2.5.29.15",
        der.namedBits(isRsa(publicKey) ? [digitalSignature, keyEncipherment] : [digitalSignature]),
      ),
      extension("2.5.29.37", der.sequence(der.oid(serverAuth), der.oid(clientAuth))),
      extension("2.5.29.17", alternativeNames(all)),
      extension("2.5.29.14", der.octetString(keyIdOf(publicKey))),
      extension(
        "2.5.29.35",
        der.sequence(der.element(0x80, ca.subjectKeyId ?? keyIdOf(ca.publicKey))),
      ),
    ],
  });
}

/** What is signed, but for the serial number and the algorithm. */
interface Content {
  issuer: Bytes;
  subject: Bytes;
  notBefore: Date;
  notAfter: Date;
  publicKey: Bytes;
  extensions: Bytes[];
}

function sign(key: KeyObject, content: Content): Issued {
  const { oid, hasNull } = signatureKind(key);
  const identifier = der.sequence(der.oid(oid), ...hasNull ? [der.derNull] : []);
  const version3 = der.explicit(0, der.integer(new Uint8Array([2])));
  const signed = der.sequence(
    version3,
    der.integer(randomSerial()),
    identifier,
    content.issuer,
    der.sequence(der.time(content.notBefore), der.time(content.notAfter)),
    content.subject,
    content.publicKey,
    der.explicit(3, der.sequence(...content.extensions)),
  );
  const bytes = der.sequence(signed, identifier, der.bitString(signWith(key, signed)));
  return { certificate: inspectCertificate(bytes), pem: certificatePem(bytes) };
}

function nameOf(commonName: string): Bytes {
  const attribute = der.sequence(der.oid("2.5.4.3"), der.utf8String(commonName));
  return der.sequence(der.element(0x31, attribute));
}

function alternativeNames({ hostnames, ips }: Names): Bytes {
  return der.sequence(
    ...hostnames.map((name) => der.element(0x82, new TextEncoder().encode(name))),
    ...ips.map((ip) => der.element(0x87, ipToBytes(ip))),
  );
}

function extension(id: string, value: Bytes): Bytes {
  return der.sequence(der.oid(id), der.octetString(value));
}

function critical(id: string, value: Bytes): Bytes {
  return der.sequence(der.oid(id), der.derTrue, der.octetString(value));
}

/** RFC 5280 section 4.2.1.2, method 1: SHA-1 over the key's bits; it identifies, nothing more. */
function keyIdOf(publicKey: Bytes): Bytes {
  const bits = child(children(readDer(publicKey)), 1);
  return new Uint8Array(createHash("sha1").update(bits.value.subarray(1)).digest());
}

function isRsa(publicKey: Bytes): boolean {
  const algorithm = child(children(child(children(readDer(publicKey)), 0)), 0);
  return algorithm.raw.length === rsaEncryption.length &&
    algorithm.raw.every((byte, index) => byte === rsaEncryption[index]);
}

const rsaEncryption = der.oid("1.2.840.113549.1.1.1");

/**
 * 128 random bits, as many as CAs of the public web must have at least half of; the first byte is
 * not 0, so that every program writes the same digits.
 */
function randomSerial(): Bytes {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  while (bytes[0] === 0) crypto.getRandomValues(bytes.subarray(0, 1));
  return bytes;
}

/** Certificates hold no fractions of a second. */
function wholeSecond(ms: number): Date {
  return new Date(Math.floor(ms / 1000) * 1000);
}
