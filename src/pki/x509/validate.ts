/** What must hold of certificates that others made before they are taken in. */
import { X509Certificate } from "node:crypto";
import { Buffer } from "node:buffer";
import { day } from "./dates.ts";
import { PkiError } from "../errors.ts";
import { beyond } from "./name_constraints.ts";
import { type Certificate, extendedUsage, keyUsageBit, sameBytes } from "./inspect.ts";

/** Below this OpenSSL, Go and rustls refuse RSA keys. */
export const leastRsaBits = 2048;

/** Chains are a leaf, a few intermediates and a root; more are a mistake or an attack. */
const maxChain = 8;

/** Whether `issuer` signed `certificate`. */
export function isIssuedBy(certificate: Certificate, issuer: Certificate): boolean {
  if (!sameBytes(certificate.issuerDer, issuer.subjectDer)) return false;
  const { authorityKeyId } = certificate;
  if (
    authorityKeyId !== undefined && issuer.subjectKeyId !== undefined &&
    !sameBytes(authorityKeyId, issuer.subjectKeyId)
  ) {
    return false;
  }
  try {
    const key = new X509Certificate(Buffer.from(issuer.der)).publicKey;
    return new X509Certificate(Buffer.from(certificate.der)).verify(key);
  } catch {
    // A signature of a kind that this system does not know proves nothing.
    return false;
  }
}

export function isSelfIssued(certificate: Certificate): boolean {
  return sameBytes(certificate.issuerDer, certificate.subjectDer);
}

/** Throws on what TLS libraries refuse: weak or unusual keys, critical extensions that nobody knows. */
export function checkStrength(
  { subject, keyType, unknownCritical }: Certificate,
  source: string,
): void {
  const rsaBits = Number(/^rsa-(\d+)$/.exec(keyType)?.[1] ?? leastRsaBits);
  const fault = keyType === "unknown"
    ? "of an unusual kind"
    : keyType === "rsa-pss"
    ? "limited to RSA-PSS, which agent does not support"
    : rsaBits < leastRsaBits
    ? `RSA with only ${rsaBits} bits`
    : undefined;
  if (fault !== undefined) {
    throw new PkiError("unsupported_key", `The key of "${subject}" in "${source}" is ${fault}`, {
      next:
        `Have a key certified that is RSA from ${leastRsaBits} bits, EC P-256, P-384 or P-521, ` +
        "or Ed25519",
      file: source,
    });
  }
  const [unknown] = unknownCritical;
  if (unknown === undefined) return;
  throw new PkiError(
    "bad_certificate",
    `The certificate "${subject}" in "${source}" has a critical extension that nobody knows, ${unknown}`,
    { next: "Have it issued without that extension, or with it not critical", file: source },
  );
}

/** Throws unless the certificate may certify others, now. */
export function checkCa(certificate: Certificate, source: string, now: number): void {
  checkStrength(certificate, source);
  checkIsCa(certificate, source);
  checkDates(certificate, source, now);
}

/** Throws unless the certificate may certify others, whenever that be. */
export function checkIsCa(certificate: Certificate, source: string): void {
  const usage = certificate.keyUsage;
  if (certificate.isCa && (usage === undefined || usage.has(keyUsageBit.keyCertSign))) return;
  throw new PkiError("not_a_ca", `"${certificate.subject}" in "${source}" is not a CA`, {
    next: "Give the CA's own certificate: on the CA's host, agent tls export-ca -o ca.crt",
    file: source,
  });
}

/** Throws unless the certificate may identify a server and is valid now. */
export function checkLeaf(certificate: Certificate, source: string, now: number): void {
  if (certificate.isCa) {
    throw new PkiError(
      "wrong_key_usage",
      `"${certificate.subject}" in "${source}" is the certificate of a CA, not of a host`,
      { next: "Give the certificate that the CA made for this host", file: source },
    );
  }
  checkStrength(certificate, source);
  // Certificates of other CAs often are for servers only; those can serve all the same.
  if (!mayUse(certificate, extendedUsage.serverAuth)) {
    throw new PkiError(
      "wrong_key_usage",
      `The certificate "${certificate.subject}" in "${source}" is not for servers`,
      { next: "Have it issued with the extended key usage serverAuth", file: source },
    );
  }
  checkDates(certificate, source, now);
}

export function maySignIn(certificate: Certificate): boolean {
  return mayUse(certificate, extendedUsage.clientAuth);
}

/** Whether the certificate may be used for that purpose, an object identifier of `extendedUsage`. */
export function mayUse({ extendedKeyUsage: usage }: Certificate, purpose: string): boolean {
  return usage === undefined || usage.includes(purpose) || usage.includes(extendedUsage.any);
}

export function checkDates(
  certificate: Certificate,
  source: string,
  now: number,
  renewal = "Have a new one issued",
): void {
  const { notBefore, notAfter, subject } = certificate;
  if (now > notAfter.getTime()) {
    throw new PkiError(
      "expired",
      `The certificate "${subject}" in "${source}" expired on ${day(notAfter)}`,
      { next: renewal, file: source },
    );
  }
  if (now < notBefore.getTime()) {
    throw new PkiError(
      "not_yet_valid",
      `The certificate "${subject}" in "${source}" is valid only from ${notBefore.toISOString()}`,
      { next: "Check this host's clock", file: source },
    );
  }
}

/**
 * The way from a certificate to a root: each is issued by the next.
 *
 * @param others intermediates and roots in any order, with or without what is not needed.
 * @param roots what is trusted.
 * @throws {PkiError} `bad_chain` where there is no way.
 */
export function chainOf(
  leaf: Certificate,
  others: Certificate[],
  roots: Certificate[],
  source: string,
): Certificate[] {
  const chain = [leaf];
  while (chain.length <= maxChain) {
    const last = chain.at(-1)!;
    const root = roots.find((candidate) => isIssuedBy(last, candidate));
    if (root !== undefined) {
      const whole = [...chain, root];
      checkLengths(whole, source);
      checkNames(whole, source);
      return whole;
    }
    const step = others.find((candidate) =>
      candidate.isCa && !isSelfIssued(candidate) && !chain.includes(candidate) &&
      isIssuedBy(last, candidate)
    );
    if (step === undefined) break;
    chain.push(step);
  }
  const last = chain.at(-1)!;
  const wanted = roots.map((root) => `"${root.subject}"`).join(" or ");
  throw new PkiError(
    "bad_chain",
    `The certificate "${leaf.subject}" in "${source}" does not lead to ${wanted}: ` +
      `"${last.subject}" was issued by "${last.issuer}"` +
      (roots.some((root) => sameBytes(root.subjectDer, last.issuerDer))
        ? ", but not signed with the key of that CA, or in a way that is no longer accepted"
        : ""),
    {
      next: "Give the CA that issued it with --ca, and intermediates after it in --cert",
      file: source,
    },
  );
}

/** A CA may say how many CAs can come below it (RFC 5280 section 4.2.1.9). */
function checkLengths(chain: Certificate[], source: string): void {
  for (const [index, { pathLength, subject }] of chain.entries()) {
    const below = chain.slice(1, index).filter((certificate) => !isSelfIssued(certificate)).length;
    if (index === 0 || pathLength === undefined || below <= pathLength) continue;
    throw new PkiError(
      "bad_chain",
      `"${subject}" allows ${pathLength} further CAs below it, and "${source}" leads to it by ${below}`,
      { next: `Have a certificate issued by a CA nearer to "${subject}"`, file: source },
    );
  }
}

/** A CA may say which names alone can come below it, or which cannot. */
function checkNames(chain: Certificate[], source: string): void {
  for (const [index, { nameConstraints, subject }] of chain.entries()) {
    if (nameConstraints === undefined) continue;
    for (const [below, certificate] of chain.slice(0, index).entries()) {
      // A CA's new key, certified by its old one (RFC 5280 section 6.1.3).
      if (below > 0 && isSelfIssued(certificate)) continue;
      const what = beyond(nameConstraints, certificate);
      if (what === undefined) continue;
      throw new PkiError("bad_chain", `In "${source}": the CA "${subject}" ${what}`, {
        next: "Have a certificate issued for other names, or by a CA that may certify these",
        file: source,
      });
    }
  }
}
