/** What a certificate says, read from its bytes: see der.ts for why not with the library. */
import { createHash } from "node:crypto";
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
import { ipFromBytes } from "./names.ts";

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

/** @throws {DerError} where the bytes are no certificate. */
export function readCertificate(der: Bytes): Certificate {
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

/** SHA-256 as OpenSSL prints it: "AB:CD:…". */
export function fingerprintOf(der: Uint8Array): string {
  const hex = createHash("sha256").update(der).digest("hex").toUpperCase();
  return hex.match(/../g)!.join(":");
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
