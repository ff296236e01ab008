/** How certificates are signed (RFC 5280 section 4.1.1.2), and whether a signature holds. */
import { Buffer } from "node:buffer";
import { constants, createPublicKey, verify } from "node:crypto";
import { type Bytes, child, children, type Der, readOid, tag } from "./der.ts";

export interface SignatureAlgorithm {
  /** For people: "RSA with SHA-1", or the object identifier where nothing else is known. */
  name: string;
  /** As node:crypto names it; null where the algorithm has its own, as Ed25519. */
  hash: string | null;
  /** Of RSA-PSS, in bytes. */
  saltLength?: number;
  /** Whether TLS accepts certificates that are signed like that. */
  isAccepted: boolean;
}

const rsaPss = "1.2.840.113549.1.1.10";
const hashes: Record<string, string> = {
  "1.3.14.3.2.26": "sha1",
  "2.16.840.1.101.3.4.2.1": "sha256",
  "2.16.840.1.101.3.4.2.2": "sha384",
  "2.16.840.1.101.3.4.2.3": "sha512",
};
/** In bytes. TLS 1.3 knows RSA-PSS with a salt as long as the hash only (RFC 8446 section 4.2.3). */
const hashLengths: Record<string, number> = { sha256: 32, sha384: 48, sha512: 64 };

const named: Record<string, [scheme: string, hash: string | null]> = {
  "1.2.840.113549.1.1.4": ["RSA", "md5"],
  "1.2.840.113549.1.1.5": ["RSA", "sha1"],
  "1.2.840.113549.1.1.14": ["RSA", "sha224"],
  "1.2.840.113549.1.1.11": ["RSA", "sha256"],
  "1.2.840.113549.1.1.12": ["RSA", "sha384"],
  "1.2.840.113549.1.1.13": ["RSA", "sha512"],
  "1.2.840.10045.4.1": ["ECDSA", "sha1"],
  "1.2.840.10045.4.3.1": ["ECDSA", "sha224"],
  "1.2.840.10045.4.3.2": ["ECDSA", "sha256"],
  "1.2.840.10045.4.3.3": ["ECDSA", "sha384"],
  "1.2.840.10045.4.3.4": ["ECDSA", "sha512"],
  "1.3.101.112": ["Ed25519", null],
};

export function readSignatureAlgorithm(identifier: Der): SignatureAlgorithm {
  const parts = children(identifier);
  const oid = readOid(child(parts, 0));
  if (oid === rsaPss) return readPss(parts[1]);
  const known = named[oid];
  if (known === undefined) return { name: oid, hash: null, isAccepted: false };
  const [scheme, hash] = known;
  if (hash === null) return { name: scheme, hash, isAccepted: true };
  return { name: `${scheme} with ${hashName(hash)}`, hash, isAccepted: hash in hashLengths };
}

/** RFC 4055 section 3.1; what is left out means SHA-1 and a salt of 20 bytes. */
function readPss(parameters: Der | undefined): SignatureAlgorithm {
  const fields = parameters?.tag === tag.sequence ? children(parameters) : [];
  const field = (kind: number) => {
    const wrapper = fields.find((each) => each.tag === kind);
    return wrapper && child(children(wrapper), 0);
  };
  const hashField = field(0xa0);
  const hash = hashField === undefined
    ? "sha1"
    : hashes[readOid(child(children(hashField), 0))] ?? "unknown";
  const salt = field(0xa2);
  const saltLength = salt?.tag === tag.integer ? salt.value.at(-1)! : 20;
  return {
    name: `RSA-PSS with ${hashName(hash)} and a salt of ${saltLength} bytes`,
    hash,
    saltLength,
    isAccepted: hashLengths[hash] === saltLength,
  };
}

/** "sha256" is "SHA-256". */
function hashName(hash: string): string {
  return hash.replace(/^sha/, "SHA-").replace("md5", "MD5");
}

/**
 * Whether the key made the signature; undefined where this system cannot tell, as for P-521 with
 * SHA-256. node:crypto's `X509Certificate.verify` knows neither P-521 nor
 * RSA-PSS nor P-256 with SHA-384 on Deno (2.7 and 2.9), which TLS accepts; its `verify` knows them.
 *
 * @param publicKey SubjectPublicKeyInfo.
 */
export function isSignedBy(
  { tbs, signature, signatureAlgorithm: { hash, saltLength } }: {
    tbs: Bytes;
    signature: Bytes;
    signatureAlgorithm: SignatureAlgorithm;
  },
  publicKey: Bytes,
): boolean | undefined {
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey), format: "der", type: "spki" });
    // The runtime says false to all of these: its library wants a hash of half the curve's size.
    const isP521 = key.asymmetricKeyDetails?.namedCurve === "secp521r1";
    if (isP521 && hash === "sha256") return undefined;
    const options = saltLength === undefined
      ? { key }
      : { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };
    return verify(hash, tbs, options, signature);
  } catch {
    return undefined;
  }
}
