/**
 * Reads the files of certificates and keys. Light enough for every role at start and at each reload:
 * it does not load @peculiar/x509, which certify.ts needs for issuing.
 */
import { reasonOf } from "../../base/fs/reason.ts";
import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { dirname } from "node:path";
import { type Certificate, readCertificate, sameBytes } from "./certificate.ts";
import { type Bytes, DerError } from "./der.ts";
import { PkiError } from "../errors.ts";
import { otherFormat, otherLabel } from "./file_format.ts";
import { parsePem, type PemBlock, pemOf, toPem } from "./pem.ts";
import { shellQuoted } from "../../base/shell_quoted.ts";

export { type Certificate, sameBytes } from "./certificate.ts";
export { extendedUsage, keyUsageBit } from "./extensions.ts";

/** A certificate with its private key and the chain that goes with it. */
export interface Pair {
  certificate: Certificate;
  /** All certificates of the file, the leaf first. */
  chain: Certificate[];
  /**
   * The chain and the key (PKCS#8) as we write them, not as they were read: TLS understands fewer
   * forms of PEM, and would fail at the first connection.
   */
  certPem: string;
  keyPem: string;
}

/** A bundle of all public CAs has 250 KB; nothing that belongs here comes near 1 MiB. */
const maxFileBytes = 1024 * 1024;
/** A writer replaces a pair within milliseconds; a slow disk may need a second for its fsyncs. */
const pairWaitMs = 2000;
const pairPollMs = 20;

/** Reads one certificate: the first of a PEM text, or DER. */
export function inspectCertificate(
  source: string | Uint8Array,
  name = "certificate",
): Certificate {
  if (typeof source === "string") return parseCertificates(source, name)[0]!;
  return fromDer(new Uint8Array(source), name);
}

/** Reads every certificate of a PEM text, each once; throws where there is none. */
export function parseCertificates(text: string, name: string): Certificate[] {
  const seen = new Set<string>();
  const blocks = parsePem(text, name);
  const found = blocks
    .filter(({ label }) => label === "CERTIFICATE" || label === "X509 CERTIFICATE")
    .map(({ der }) => fromDer(der, name))
    .filter(({ fingerprint }) => !seen.has(fingerprint) && seen.add(fingerprint));
  if (found.length === 0) {
    const other = otherLabel(blocks.map(({ label }) => label), name);
    const what = other === undefined ? "holds no certificate" : `is ${other.what}`;
    throw new PkiError("no_certificate", `"${name}" ${what}`, {
      next: other?.next ?? "Give a file with a block -----BEGIN CERTIFICATE-----",
      file: name,
    });
  }
  return found;
}

/** Reads the private key of a PEM text: PKCS#8, PKCS#1 or SEC1. */
function parseKey(text: string, name: string): KeyObject {
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
      next: `openssl pkey -in ${shellQuoted(name)} -out decrypted.key`,
      file: name,
    });
  }
  return keyFromBlock(block, name);
}

/** PKCS#8 PEM, the form that every program reads, whatever form the key was read in. */
export function pkcs8Pem(key: KeyObject): string {
  return toPem("PRIVATE KEY", new Uint8Array(key.export({ type: "pkcs8", format: "der" })));
}

export function readCertificates(file: string): Certificate[] {
  return parseCertificates(readPemText(file), file);
}

export function readKey(file: string): KeyObject {
  return parseKey(readPemText(file), file);
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
    const chain = readCertificates(certFile);
    const key = readKey(keyFile);
    const certificate = chain[0]!;
    if (matches(certificate, key)) {
      return { certificate, chain, certPem: pemOf(chain), keyPem: pkcs8Pem(key) };
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

/**
 * Reads the text of a file that should be PEM.
 *
 * @throws {PkiError} `not_pem` with the command that converts it, where the format is known.
 */
export function readPemText(file: string): string {
  const bytes = readSmallFile(file);
  const other = otherFormat(bytes, file);
  if (other === undefined) return new TextDecoder().decode(bytes);
  throw new PkiError("not_pem", `"${file}" is ${other.what}`, { next: other.next, file });
}

/** Reads a file that a person named as text. */
export function readSmallText(file: string): string {
  return new TextDecoder().decode(readSmallFile(file));
}

/** Reads a file that a person named: a regular one, of at most 1 MiB. */
function readSmallFile(file: string): Bytes {
  const fail = (code: "file_not_found" | "file_unreadable" | "file_too_large", what: string) =>
    new PkiError(code, `Could not read "${file}": ${what}`, {
      next: `Give a file that this user can read: ls -l ${
        code === "file_not_found" ? dirname(file) : file
      }`,
      file,
    });
  try {
    // Before it is opened: opening a pipe would wait for its writer.
    const { isFile, isDirectory, size } = Deno.statSync(file);
    if (!isFile) throw fail("file_unreadable", isDirectory ? "it is a folder" : "it is not a file");
    if (size > maxFileBytes) {
      throw fail("file_too_large", `it has ${size} bytes, at most 1 MiB is read`);
    }
    return Deno.readFileSync(file);
  } catch (error) {
    if (error instanceof PkiError) throw error;
    const isMissing = error instanceof Deno.errors.NotFound;
    throw fail(isMissing ? "file_not_found" : "file_unreadable", reasonOf(error));
  }
}

function keyFromBlock({ label, der }: PemBlock, name: string): KeyObject {
  const type = ({
    "PRIVATE KEY": "pkcs8",
    "RSA PRIVATE KEY": "pkcs1",
    "EC PRIVATE KEY": "sec1",
  } as const)[label];
  if (type === undefined) {
    throw new PkiError("unsupported_key", `"${name}" holds a key of the kind "${label}"`, {
      next: `openssl pkey -in ${shellQuoted(name)} -out converted.key`,
      file: name,
    });
  }
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: Buffer.from(der), format: "der", type });
  } catch (cause) {
    throw new PkiError("bad_key", `The private key in "${name}" is damaged or of an unknown kind`, {
      next: usualKeys,
      file: name,
      cause,
    });
  }
  if (key.asymmetricKeyType === "rsa-pss") {
    // TLS could use it, but the runtime's does not, and cannot even write it down again.
    throw new PkiError(
      "unsupported_key",
      `The private key in "${name}" is limited to RSA-PSS, which agent does not support`,
      { next: usualKeys, file: name },
    );
  }
  return key;
}

const usualKeys = "Use an RSA, EC P-256, P-384 or P-521, or Ed25519 key";

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
