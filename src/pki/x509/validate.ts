/** Checks certificates of other CAs before they are used: each alone; chain.ts checks their chain. */
import { PkiError } from "../errors.ts";
import { day } from "./dates.ts";
import { type Certificate, extendedUsage, keyUsageBit } from "./inspect.ts";

/** Below this OpenSSL, Go and rustls refuse RSA keys. */
export const leastRsaBits = 2048;

/** Throws on what TLS libraries refuse: weak keys and signatures, odd versions and extensions. */
export function checkUsable(certificate: Certificate, source: string): void {
  checkKey(certificate, source);
  checkEncoding(certificate, source);
  const { subject, signatureAlgorithm, version, unknownCritical, duplicateExtension } = certificate;
  const [unknown] = unknownCritical;
  const fault = version !== 3
    ? `is of version ${version}, without extensions; TLS wants version 3`
    : duplicateExtension !== undefined
    ? `has the extension ${duplicateExtension} twice`
    : unknown !== undefined
    ? `has a critical extension that TLS does not know, ${unknown}`
    : !signatureAlgorithm.isAccepted
    ? `is signed in a way that TLS does not accept: ${signatureAlgorithm.name}`
    : undefined;
  if (fault === undefined) return;
  throw new PkiError("bad_certificate", `The certificate "${subject}" in "${source}" ${fault}`, {
    next: "Have it issued again without that, for example signed with SHA-256",
    file: source,
  });
}

/** One such certificate makes a whole trust bundle unreadable to strict readers. */
function checkEncoding({ isStrictDer, subject }: Certificate, source: string): void {
  if (isStrictDer) return;
  throw new PkiError(
    "bad_certificate",
    `The serial number of "${subject}" in "${source}" is not encoded as DER asks`,
    { next: "Have it issued again, by another program", file: source },
  );
}

function checkKey({ subject, keyType }: Certificate, source: string): void {
  const rsaBits = Number(/^rsa-(\d+)$/.exec(keyType)?.[1] ?? leastRsaBits);
  const fault = keyType === "unknown"
    ? "of an unusual kind"
    : keyType === "rsa-pss"
    ? "limited to RSA-PSS, which agent does not support"
    : rsaBits < leastRsaBits
    ? `RSA with only ${rsaBits} bits`
    : undefined;
  if (fault === undefined) return;
  throw new PkiError("unsupported_key", `The key of "${subject}" in "${source}" is ${fault}`, {
    next: `Have a key certified that is RSA from ${leastRsaBits} bits, EC P-256, P-384 or P-521, ` +
      "or Ed25519",
    file: source,
  });
}

/** Throws unless the certificate may certify others, now. */
export function checkCa(certificate: Certificate, source: string, now: number): void {
  checkKey(certificate, source);
  checkIsCa(certificate, source);
  checkDates(certificate, source, now);
}

/** Throws unless the certificate may certify others, at any time. */
export function checkIsCa(certificate: Certificate, source: string): void {
  const { isCa, keyUsage, subject } = certificate;
  checkEncoding(certificate, source);
  const maySign = keyUsage === undefined || keyUsage.has(keyUsageBit.keyCertSign);
  if (isCa && maySign) return;
  const why = isCa ? ": its key usage lacks keyCertSign" : "";
  throw new PkiError("not_a_ca", `"${subject}" in "${source}" is not a CA${why}`, {
    next: "Give the CA's own certificate: on the CA's host, agent tls export-ca -o ca.crt",
    file: source,
  });
}

/** Throws unless the certificate may identify a server and is valid now. */
export function checkLeaf(certificate: Certificate, source: string, now: number): void {
  checkServer(certificate, source);
  checkDates(certificate, source, now);
}

/** Throws unless the certificate may identify a server, at any time. */
export function checkServer(certificate: Certificate, source: string): void {
  if (certificate.isCa) {
    throw new PkiError(
      "wrong_key_usage",
      `"${certificate.subject}" in "${source}" is the certificate of a CA, not of a host`,
      { next: "Give the certificate that the CA made for this host", file: source },
    );
  }
  checkUsable(certificate, source);
  // Certificates of other CAs often are for servers only; those can serve all the same.
  if (!mayUse(certificate, extendedUsage.serverAuth)) {
    throw new PkiError(
      "wrong_key_usage",
      `The certificate "${certificate.subject}" in "${source}" is not for servers`,
      { next: "Have it issued with the extended key usage serverAuth", file: source },
    );
  }
}

export function maySignIn(certificate: Certificate): boolean {
  return mayUse(certificate, extendedUsage.clientAuth);
}

/**
 * Whether the certificate may be used for that purpose, an object identifier of `extendedUsage`.
 * OpenSSL and the runtime do not take anyExtendedKeyUsage for it, so neither does this.
 */
export function mayUse({ extendedKeyUsage: usage }: Certificate, purpose: string): boolean {
  return usage === undefined || usage.includes(purpose);
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

export function isInForce({ notBefore, notAfter }: Certificate, now: number): boolean {
  return notBefore.getTime() <= now && now <= notAfter.getTime();
}
