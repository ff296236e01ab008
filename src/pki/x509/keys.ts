/** Makes private keys, and hands them to Web Crypto, which signs. */
import { createPublicKey, generateKeyPair, type KeyObject } from "node:crypto";
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

/** Parameters of Web Crypto for a key and its signatures; the hash goes with the strength. */
interface SigningAlgorithm {
  name: string;
  namedCurve?: string;
  hash?: string;
}

/** @throws {PkiError} for keys of a kind that not all clients accept. */
export function signingAlgorithm(key: KeyObject): SigningAlgorithm {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  const curve = details?.namedCurve;
  if (type === "ed25519") return { name: "Ed25519" };
  if (type === "rsa") return { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  if (type === "ec" && curve === "prime256v1") {
    return { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  }
  if (type === "ec" && curve === "secp384r1") {
    return { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" };
  }
  throw new PkiError("unsupported_key", `A key of type "${curve ?? type}" cannot sign here`, {
    next: "Use an RSA, EC P-256, EC P-384 or Ed25519 key",
  });
}

const webKeyPairs = new WeakMap<KeyObject, Promise<CryptoKeyPair>>();

/**
 * The same key for Web Crypto, by which @peculiar/x509 signs. Kept with the key: to convert it takes
 * 0.5 ms, an eighth of issuing a certificate.
 *
 * @throws {PkiError} for keys of a kind that not all clients accept.
 */
export function webKeyPair(key: KeyObject): Promise<CryptoKeyPair> {
  const pair = webKeyPairs.get(key) ?? convert(key);
  webKeyPairs.set(key, pair);
  return pair;
}

async function convert(key: KeyObject): Promise<CryptoKeyPair> {
  const algorithm = signingAlgorithm(key);
  const pkcs8 = new Uint8Array(key.export({ type: "pkcs8", format: "der" }));
  const [privateKey, publicKey] = await Promise.all([
    crypto.subtle.importKey("pkcs8", pkcs8, algorithm, true, ["sign"]),
    crypto.subtle.importKey("spki", publicKeyOf(key), algorithm, true, ["verify"]),
  ]);
  return { privateKey, publicKey };
}
