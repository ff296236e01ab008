/**
 * Makes keys and signs with them by node:crypto: the first key of Web Crypto takes 30 ms here, as
 * long as all else that a mint does.
 */
import { createPublicKey, generateKeyPair, type KeyObject, sign } from "node:crypto";
import { promisify } from "node:util";
import type { Bytes } from "./der.ts";
import { PkiError } from "../errors.ts";
import { defaultKeyType, type KeyType, keyTypes } from "./key_types.ts";

const newKeyPair = promisify(generateKeyPair);

/** A new private key. */
export async function generateKey(type: KeyType): Promise<KeyObject> {
  return (await pairOf(type)).privateKey;
}

function pairOf(type: KeyType): Promise<{ privateKey: KeyObject }> {
  switch (type) {
    case "ec-p256":
      return newKeyPair("ec", { namedCurve: "P-256" });
    case "ec-p384":
      return newKeyPair("ec", { namedCurve: "P-384" });
    case "rsa-3072":
      return newKeyPair("rsa", { modulusLength: 3072 });
    case "ed25519":
      return newKeyPair("ed25519", {});
  }
}

/** SubjectPublicKeyInfo of a private key's other half. */
export function publicKeyOf(key: KeyObject): Bytes {
  return new Uint8Array(createPublicKey(key).export({ type: "spki", format: "der" }));
}

/** The kind of key to make where another key's kind sets the example. */
export function sameKind(keyType: string | undefined): KeyType {
  return keyTypes.find((type) => type === keyType) ?? defaultKeyType;
}

/** How a key signs; the hash goes with its strength. */
export interface SignatureKind {
  /** The object identifier of RFC 5758, 4055 or 8410. */
  oid: string;
  /** RSA's identifier is followed by a NULL. */
  hasNull: boolean;
  hash: string | null;
}

/** @throws {PkiError} for keys of a kind that not all clients take. */
export function signatureKind(key: KeyObject): SignatureKind {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  const curve = details?.namedCurve;
  if (type === "ed25519") return { oid: "1.3.101.112", hasNull: false, hash: null };
  if (type === "rsa") return { oid: "1.2.840.113549.1.1.11", hasNull: true, hash: "sha256" };
  if (type === "ec" && curve === "prime256v1") {
    return { oid: "1.2.840.10045.4.3.2", hasNull: false, hash: "sha256" };
  }
  if (type === "ec" && curve === "secp384r1") {
    return { oid: "1.2.840.10045.4.3.3", hasNull: false, hash: "sha384" };
  }
  throw new PkiError("unsupported_key", `A key of type "${curve ?? type}" cannot sign here`, {
    next: "Use an RSA, EC P-256, EC P-384 or Ed25519 key",
  });
}

/** The signature in the form that certificates hold. */
export function signWith(key: KeyObject, data: Bytes): Bytes {
  return new Uint8Array(sign(signatureKind(key).hash, data, key));
}

/** The same key for the library that makes requests. */
export async function webKeyPair(key: KeyObject): Promise<CryptoKeyPair> {
  const { hash } = signatureKind(key);
  const curve = hash === "sha384" ? "P-384" : "P-256";
  const algorithm = key.asymmetricKeyType === "ed25519"
    ? { name: "Ed25519" }
    : key.asymmetricKeyType === "rsa"
    ? { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }
    : { name: "ECDSA", namedCurve: curve };
  const pkcs8 = new Uint8Array(key.export({ type: "pkcs8", format: "der" }));
  const [privateKey, publicKey] = await Promise.all([
    crypto.subtle.importKey("pkcs8", pkcs8, algorithm, true, ["sign"]),
    crypto.subtle.importKey("spki", publicKeyOf(key), algorithm, true, ["verify"]),
  ]);
  return { privateKey, publicKey };
}
