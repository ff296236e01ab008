/**
 * Reads certificates and keys: light enough for every role and for each reload. What a certificate
 * says is read here from its bytes; issuing is elsewhere, with the library for it.
 */
import { Buffer } from "node:buffer";
import { dirname } from "node:path";
import { createHash, createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import {
  type Bytes,
  child,
  children,
  type Der,
  DerError,
  readBits,
  readDer,
  readOid,
  readTime,
  tag,
} from "./der.ts";
import { PkiError } from "./errors.ts";
import { ipFromBytes } from "./names.ts";
import { parsePem, type PemBlock } from "./pem.ts";

/** What a certificate says. */
export interface Certificate {
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
  notBefore: Date;
  notAfter: Date;
  hostnames: string[];
  ips: string[];
  isCa: boolean;
  /** How many CAs may come between this one and a host; undefined for any number. */
  pathLength: number | undefined;
  /** What must be understood, and is not understood by any verifier in use here. */
  unknownCritical: string[];
  /** Undefined where the certificate does not restrict its use. */
  keyUsage: Set<number> | undefined;
  /** Object identifiers; undefined where the certificate does not restrict its use. */
  extendedKeyUsage: string[] | undefined;
  subjectKeyId: Bytes | undefined;
  authorityKeyId: Bytes | undefined;
  /** "ec-p256", "rsa-3072", "ed25519", …; "unknown" for what is none of the usual ones. */
  keyType: string;
  /** SubjectPublicKeyInfo. */
  publicKey: Bytes;
  /** SHA-256 over the certificate, as OpenSSL prints it: "AB:CD:…". */
  fingerprint: string;
}

/** A certificate with its private key and the chain that goes with it. */
export interface Pair {
  certificate: Certificate;
  /** All certificates of the file, the leaf first. */
  chain: Certificate[];
  /** As read. */
  certPem: string;
  keyPem: string;
}

/** The bits of key usage that are asked about (RFC 5280 section 4.2.1.3). */
export const keyUsageBit = {
  digitalSignature: 0,
  keyEncipherment: 2,
  keyCertSign: 5,
  crlSign: 6,
} as const;
export const extendedUsage = {
  any: "2.5.29.37.0",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;

/** A bundle of all public CAs has 250 KB; nothing that belongs here comes near 1 MiB. */
const maxFileBytes = 1024 * 1024;
/** A writer replaces a pair within milliseconds; a slow disk may need a second for its fsyncs. */
const pairWaitMs = 2000;
const pairPollMs = 20;

/** Reads one certificate: PEM, of which the first counts, or DER. */
export function inspectCertificate(
  source: string | Uint8Array,
  name = "certificate",
): Certificate {
  if (typeof source === "string") return parseCertificates(source, name)[0]!;
  return fromDer(new Uint8Array(source), name);
}

/** Reads every certificate of a PEM text; at least one is wanted. */
export function parseCertificates(text: string, name: string): Certificate[] {
  const found = parsePem(text, name)
    .filter(({ label }) => label === "CERTIFICATE" || label === "X509 CERTIFICATE")
    .map(({ der }) => fromDer(der, name));
  if (found.length === 0) {
    throw new PkiError("no_certificate", `"${name}" holds no certificate`, {
      next: "Give a file with a block -----BEGIN CERTIFICATE-----",
      file: name,
    });
  }
  return found;
}

/** Reads the private key of a PEM text: PKCS#8, PKCS#1 or SEC1. */
export function parseKey(text: string, name: string): KeyObject {
  const blocks = parsePem(text, name).filter(({ label }) => label.endsWith("PRIVATE KEY"));
  const block = blocks[0];
  if (block === undefined) {
    throw new PkiError("no_key", `"${name}" holds no private key`, {
      next: "Give a file with a block -----BEGIN PRIVATE KEY-----",
      file: name,
    });
  }
  if (block.encrypted || block.label === "ENCRYPTED PRIVATE KEY") {
    throw new PkiError("encrypted_key", `The key in "${name}" is encrypted with a passphrase`, {
      next: `openssl pkey -in ${name} -out decrypted.key`,
      file: name,
    });
  }
  return keyFromBlock(block, name);
}

export function readCertificates(file: string): Certificate[] {
  return parseCertificates(readSmallText(file), file);
}

export function readKey(file: string): KeyObject {
  return parseKey(readSmallText(file), file);
}

/** Whether the private key belongs to the certificate. */
export function matches(certificate: Certificate, key: KeyObject): boolean {
  const own = createPublicKey(key).export({ type: "spki", format: "der" });
  return sameBytes(own, certificate.publicKey);
}

/**
 * Reads a certificate and its key. Two files cannot be replaced in one instant: a reader that meets
 * two generations waits for the writer and reads again.
 *
 * @throws {PkiError} `key_mismatch` where they still differ after two seconds.
 */
export async function readPair(certFile: string, keyFile: string): Promise<Pair> {
  for (const end = performance.now() + pairWaitMs;;) {
    const [certPem, keyPem] = await Promise.all([readSmallText(certFile), readSmallText(keyFile)]);
    const chain = parseCertificates(certPem, certFile);
    const certificate = chain[0]!;
    if (matches(certificate, parseKey(keyPem, keyFile))) {
      return { certificate, chain, certPem, keyPem };
    }
    if (performance.now() > end) {
      throw keyMismatch(certFile, keyFile);
    }
    await new Promise((resolve) => setTimeout(resolve, pairPollMs));
  }
}

export function keyMismatch(certFile: string, keyFile: string): PkiError {
  return new PkiError(
    "key_mismatch",
    `The private key "${keyFile}" does not belong to the certificate "${certFile}"`,
    { next: "Give the key that was made with this certificate", file: keyFile },
  );
}

/** Reads a file that a person named: a regular one, of a size that makes sense, as text. */
export function readSmallText(file: string): string {
  const fail = (code: "file_not_found" | "file_unreadable" | "file_too_large", what: string) =>
    new PkiError(code, `Could not read "${file}": ${what}`, {
      next: `Give a file that this user can read: ls -l ${
        code === "file_not_found" ? dirname(file) : file
      }`,
      file,
    });
  try {
    // Asked before it is opened: to open a pipe would wait for its writer.
    const { isFile, isDirectory, size } = Deno.statSync(file);
    if (!isFile) throw fail("file_unreadable", isDirectory ? "it is a folder" : "it is not a file");
    if (size > maxFileBytes) {
      throw fail("file_too_large", `it has ${size} bytes, at most 1 MiB is read`);
    }
    return new TextDecoder().decode(Deno.readFileSync(file));
  } catch (error) {
    if (error instanceof PkiError) throw error;
    if (error instanceof Deno.errors.NotFound) throw fail("file_not_found", "it does not exist");
    if (error instanceof Deno.errors.PermissionDenied) {
      throw fail("file_unreadable", "permission denied");
    }
    throw fail("file_unreadable", error instanceof Error ? error.message : String(error));
  }
}

/** SHA-256 as OpenSSL prints it: "AB:CD:…". */
export function fingerprintOf(der: Uint8Array): string {
  const hex = createHash("sha256").update(der).digest("hex").toUpperCase();
  return hex.match(/../g)!.join(":");
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

function keyFromBlock({ label, der }: PemBlock, name: string): KeyObject {
  const type = ({
    "PRIVATE KEY": "pkcs8",
    "RSA PRIVATE KEY": "pkcs1",
    "EC PRIVATE KEY": "sec1",
  } as const)[label];
  if (type === undefined) {
    throw new PkiError("unsupported_key", `"${name}" holds a key of the kind "${label}"`, {
      next: `openssl pkey -in ${name} -out converted.key`,
      file: name,
    });
  }
  try {
    return createPrivateKey({ key: Buffer.from(der), format: "der", type });
  } catch (cause) {
    throw new PkiError("bad_key", `The private key in "${name}" is damaged or of an unknown kind`, {
      next: "Give an RSA, EC P-256, EC P-384 or Ed25519 key",
      file: name,
      cause,
    });
  }
}

function fromDer(der: Bytes, name: string): Certificate {
  try {
    return readCertificate(der);
  } catch (cause) {
    if (!(cause instanceof DerError)) throw cause;
    throw new PkiError(
      "bad_certificate",
      `The certificate in "${name}" is damaged: ${cause.message}`,
      {
        next: "Copy the file again from where it was made",
        file: name,
        cause,
      },
    );
  }
}

function readCertificate(der: Bytes): Certificate {
  const fields = children(child(children(readDer(der, tag.sequence)), 0, tag.sequence));
  // Version 1 certificates leave out the version.
  const at = fields[0]?.tag === 0xa0 ? 1 : 0;
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
    notBefore,
    notAfter,
    publicKey: publicKey.raw,
    keyType: keyTypeOf(publicKey),
    fingerprint: fingerprintOf(der),
    ...extensions(fields.find((field) => field.tag === 0xa3)),
  };
}

/**
 * Key usage, names, basic constraints, name constraints, policies and their relatives, extended
 * key usage: what OpenSSL processes (RFC 5280 section 4.2.1).
 */
const verifiedExtensions = /^2\.5\.29\.(14|15|17|19|30|31|32|33|35|36|37|54)$/;

type Extensions = Pick<
  Certificate,
  | "hostnames"
  | "ips"
  | "isCa"
  | "pathLength"
  | "unknownCritical"
  | "keyUsage"
  | "extendedKeyUsage"
  | "subjectKeyId"
  | "authorityKeyId"
>;

function extensions(wrapper: Der | undefined): Extensions {
  const found: Extensions = {
    hostnames: [],
    ips: [],
    isCa: false,
    pathLength: undefined,
    unknownCritical: [],
    keyUsage: undefined,
    extendedKeyUsage: undefined,
    subjectKeyId: undefined,
    authorityKeyId: undefined,
  };
  if (wrapper === undefined) return found;
  for (const extension of children(child(children(wrapper), 0, tag.sequence))) {
    const parts = children(extension);
    const oid = readOid(child(parts, 0));
    const value = child(parts, parts.length - 1, tag.octetString).value;
    const isCritical = parts[1]?.tag === tag.boolean && parts[1].value[0] !== 0;
    if (isCritical && !verifiedExtensions.test(oid)) found.unknownCritical.push(oid);
    if (oid === "2.5.29.17") Object.assign(found, alternativeNames(readDer(value, tag.sequence)));
    if (oid === "2.5.29.19") {
      const [first, second] = children(readDer(value, tag.sequence));
      found.isCa = first?.tag === tag.boolean && first.value[0] !== 0;
      // Never above one byte in practice; a longer one restricts nothing.
      if (second?.value.length === 1) found.pathLength = second.value[0];
    }
    if (oid === "2.5.29.15") found.keyUsage = readBits(readDer(value));
    if (oid === "2.5.29.37") {
      found.extendedKeyUsage = children(readDer(value, tag.sequence)).map(readOid);
    }
    if (oid === "2.5.29.14") found.subjectKeyId = readDer(value, tag.octetString).value;
    if (oid === "2.5.29.35") {
      found.authorityKeyId = children(readDer(value, tag.sequence))
        .find((part) => part.tag === 0x80)?.value;
    }
  }
  return found;
}

function alternativeNames(names: Der): { hostnames: string[]; ips: string[] } {
  const hostnames: string[] = [];
  const ips: string[] = [];
  for (const { tag: kind, value } of children(names)) {
    if (kind === 0x82) hostnames.push(printable(new TextDecoder("latin1").decode(value)));
    const ip = kind === 0x87 ? ipFromBytes(value) : undefined;
    if (ip !== undefined) ips.push(ip);
  }
  return { hostnames, ips };
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
      return [nameTypes[oid] ?? oid, printable(stringText(value))];
    })
  );
}

function nameText(parts: [string, string][]): string {
  return parts.map(([type, value]) => `${type}=${value}`).join(", ");
}

function stringText({ tag: kind, value }: Der): string {
  if (kind === tag.bmpString) return new TextDecoder("utf-16be").decode(value);
  if (kind === tag.teletexString) return new TextDecoder("latin1").decode(value);
  return new TextDecoder().decode(value);
}

/** Others choose these names: nothing in them may steer a terminal. */
function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Cf}]/gu,
    (c) => `\\u${c.codePointAt(0)!.toString(16).padStart(4, "0")}`,
  );
}

function serialText(value: Bytes): string {
  const start = value.length > 1 && value[0] === 0 ? 1 : 0;
  return Array.from(value.subarray(start), (byte) => byte.toString(16).padStart(2, "0"))
    .join("").toUpperCase();
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
