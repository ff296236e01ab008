import { createPublicKey, type KeyObject } from "node:crypto";
import type { Bytes } from "./der.ts";
import { PkiError } from "./errors.ts";
import { defaultKeyType, type KeyType, keyTypes } from "./key_types.ts";
import { toPem } from "./pem.ts";

const publicExponent = new Uint8Array([1, 0, 1]);
const algorithms: Record<KeyType, RsaHashedKeyGenParams | EcKeyGenParams | { name: string }> = {
  "ec-p256": { name: "ECDSA", namedCurve: "P-256" },
  "ec-p384": { name: "ECDSA", namedCurve: "P-384" },
  "rsa-3072": { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength: 3072, publicExponent },
  "ed25519": { name: "Ed25519" },
};

export async function generateKey(type: KeyType): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey(algorithms[type], true, [
    "sign",
    "verify",
  ]) as CryptoKeyPair;
}

/** PKCS#8, the form that every program reads. */
export async function keyPem(key: CryptoKey): Promise<string> {
  return toPem("PRIVATE KEY", new Uint8Array(await crypto.subtle.exportKey("pkcs8", key)));
}

/** The same key as PKCS#8 PEM, whatever form it was read in. */
export function pkcs8Pem(key: KeyObject): string {
  return toPem("PRIVATE KEY", new Uint8Array(key.export({ type: "pkcs8", format: "der" })));
}

export async function publicKeyOf(key: CryptoKey): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.exportKey("spki", key));
}

/** The kind of key to make where another key's kind sets the example. */
export function sameKind(keyType: string | undefined): KeyType {
  return keyTypes.find((type) => type === keyType) ?? defaultKeyType;
}

/** Makes a key that was read fit for signing certificates. */
export async function signingKey(key: KeyObject, keyType: string): Promise<CryptoKey> {
  const algorithm = keyType.startsWith("rsa-")
    ? { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }
    : algorithms[keyType as KeyType];
  if (algorithm === undefined) {
    throw new PkiError("unsupported_key", `A CA with a key of type "${keyType}" cannot sign here`, {
      next: "Use a CA with an RSA, EC P-256, EC P-384 or Ed25519 key",
    });
  }
  const pkcs8 = new Uint8Array(key.export({ type: "pkcs8", format: "der" }));
  return await crypto.subtle.importKey("pkcs8", pkcs8, algorithm, false, ["sign"]);
}

/** Both halves of a key that was read, for signing a request. */
export async function keyPairOf(key: KeyObject): Promise<CryptoKeyPair> {
  const { asymmetricKeyType: kind, asymmetricKeyDetails: details } = key;
  const algorithm = kind === "ed25519"
    ? algorithms.ed25519
    : kind === "rsa"
    ? { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }
    : details?.namedCurve === "secp384r1" || details?.namedCurve === "p384"
    ? algorithms["ec-p384"]
    : algorithms["ec-p256"];
  const pkcs8 = new Uint8Array(key.export({ type: "pkcs8", format: "der" }));
  const spki = new Uint8Array(createPublicKey(key).export({ type: "spki", format: "der" }));
  const [privateKey, publicKey] = await Promise.all([
    crypto.subtle.importKey("pkcs8", pkcs8, algorithm, true, ["sign"]),
    crypto.subtle.importKey("spki", spki, algorithm, true, ["verify"]),
  ]);
  return { privateKey, publicKey };
}
