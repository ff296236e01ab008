/** Reads the fields of a certificate from its bytes; der.ts says why without the library. */
import { createHash } from "node:crypto";
import {
  type Bytes,
  child,
  children,
  type Der,
  DerError,
  readDer,
  readOid,
  readText,
  readTime,
  tag,
} from "./der.ts";
import { type Extensions, readExtensions } from "./extensions.ts";
import { readSignatureAlgorithm, type SignatureAlgorithm } from "./signature.ts";
import { printable } from "../../base/printable.ts";

/** The fields of a certificate. */
export interface Certificate extends Extensions {
  der: Bytes;
  /** For people, control characters escaped: "CN=gpu1.lan, O=Lab". */
  subject: string;
  issuer: string;
  commonName: string | undefined;
  /** The exact names, for comparing. */
  subjectDer: Bytes;
  issuerDer: Bytes;
  /** Hexadecimal in capitals without leading zeros in pairs, as OpenSSL prints it. */
  serial: string;
  /** Whether the serial number has no needless bytes; strict readers such as Python's insist on it. */
  isStrictDer: boolean;
  notBefore: Date;
  notAfter: Date;
  /** "ec-p256", "rsa-3072", "ed25519", …; "unknown" for anything unusual. */
  keyType: string;
  /** SubjectPublicKeyInfo. */
  publicKey: Bytes;
  /** 3 for every certificate of today. */
  version: number;
  /** The part that is signed. */
  tbs: Bytes;
  signatureAlgorithm: SignatureAlgorithm;
  signature: Bytes;
  /** SHA-256 over the certificate, as OpenSSL prints it: "AB:CD:…". */
  fingerprint: string;
}

/** @throws {DerError} where the bytes are no certificate. */
export function readCertificate(der: Bytes): Certificate {
  const parts = children(readDer(der, tag.sequence));
  const tbs = child(parts, 0, tag.sequence);
  const fields = children(tbs);
  // Version 1 certificates leave out the version; it is 2 for version 3.
  const at = fields[0]?.tag === 0xa0 ? 1 : 0;
  const version = at === 0
    ? 1
    : (child(children(fields[0]!), 0, tag.integer).value.at(-1) ?? 0) + 1;
  const serial = child(fields, at, tag.integer);
  const issuer = child(fields, at + 2, tag.sequence);
  const [notBefore, notAfter] = children(child(fields, at + 3, tag.sequence)).map(readTime);
  const subject = child(fields, at + 4, tag.sequence);
  const publicKey = child(fields, at + 5, tag.sequence);
  if (notBefore === undefined || notAfter === undefined) throw new DerError("it has no dates");
  const names = nameParts(subject);
  return {
    der,
    subject: nameText(names),
    issuer: nameText(nameParts(issuer)),
    commonName: names.findLast(([type]) => type === "CN")?.[1],
    subjectDer: subject.raw,
    issuerDer: issuer.raw,
    serial: serialText(serial.value),
    isStrictDer: isMinimal(serial.value),
    notBefore,
    notAfter,
    publicKey: publicKey.raw,
    keyType: keyTypeOf(publicKey),
    fingerprint: fingerprintOf(der),
    version,
    tbs: tbs.raw,
    signatureAlgorithm: readSignatureAlgorithm(child(parts, 1, tag.sequence)),
    // The first byte counts unused bits; signatures have none.
    signature: child(parts, 2, tag.bitString).value.subarray(1),
    ...readExtensions(fields.find((field) => field.tag === 0xa3)),
  };
}

const nameTypes: Record<string, string> = {
  "2.5.4.3": "CN",
  "2.5.4.5": "serialNumber",
  "2.5.4.6": "C",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
  "1.2.840.113549.1.9.1": "emailAddress",
};

function nameParts(name: Der): [string, string][] {
  return children(name).flatMap((set) =>
    children(set).map((attribute): [string, string] => {
      const [type, value] = children(attribute);
      if (type === undefined || value === undefined) throw new DerError("a name is malformed");
      const oid = readOid(type);
      return [nameTypes[oid] ?? oid, printable(readText(value))];
    })
  );
}

function nameText(parts: [string, string][]): string {
  return parts.map(([type, value]) => `${type}=${value}`).join(", ");
}

/** Whether an INTEGER has no leading byte that only repeats its sign (X.690 section 8.3.2). */
function isMinimal([first, second]: Bytes): boolean {
  if (first === undefined || second === undefined) return first !== undefined;
  return first === 0 ? second >= 0x80 : first === 0xff ? second < 0x80 : true;
}

function serialText(value: Bytes): string {
  const start = value.length > 1 && value[0] === 0 ? 1 : 0;
  return value.subarray(start).toHex().toUpperCase();
}

const curves: Record<string, string> = {
  "1.2.840.10045.3.1.7": "ec-p256",
  "1.3.132.0.34": "ec-p384",
  "1.3.132.0.35": "ec-p521",
};

function keyTypeOf(publicKey: Der): string {
  const [algorithm, bits] = children(publicKey);
  if (algorithm === undefined || bits === undefined) throw new DerError("it has no public key");
  const parts = children(algorithm);
  const parameters = parts[1];
  switch (readOid(child(parts, 0))) {
    case "1.2.840.10045.2.1":
      return parameters?.tag === tag.oid ? curves[readOid(parameters)] ?? "unknown" : "unknown";
    case "1.2.840.113549.1.1.1":
      return `rsa-${rsaBits(bits)}`;
    case "1.2.840.113549.1.1.10":
      return "rsa-pss";
    case "1.3.101.112":
      return "ed25519";
    default:
      return "unknown";
  }
}

function rsaBits(bits: Der): number {
  const modulus = child(children(readDer(bits.value.subarray(1), tag.sequence)), 0, tag.integer);
  const value = modulus.value[0] === 0 ? modulus.value.subarray(1) : modulus.value;
  return value.length * 8 - (Math.clz32(value[0] ?? 0) - 24);
}

/** SHA-256 as OpenSSL prints it: "AB:CD:…". */
function fingerprintOf(der: Uint8Array): string {
  const hex = createHash("sha256").update(der).digest("hex").toUpperCase();
  return hex.match(/../g)!.join(":");
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
