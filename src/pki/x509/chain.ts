/** Finds the way from a certificate to a trusted root, and checks it (RFC 5280 section 6). */
import { NoChainError, PkiError } from "../errors.ts";
import type { Certificate } from "./certificate.ts";
import { extendedUsage, sameBytes } from "./inspect.ts";
import { beyond } from "./name_constraints.ts";
import { isSignedBy } from "./signature.ts";
import { checkDates, checkIsCa, checkUsable, mayUse } from "./validate.ts";

/** Chains are a leaf, a few intermediates and a root; longer ones are a mistake or an attack. */
const maxChain = 8;

/** CAs of one name and key can be combined in very many ways; no honest file comes near this. */
const maxSignatures = 200;

/** Whether `issuer` signed `certificate`; a signature that cannot be verified proves nothing. */
export function isIssuedBy(certificate: Certificate, issuer: Certificate): boolean {
  return hasIssuer(certificate, issuer) === true;
}

/** Undefined where only the signature cannot be verified. */
function hasIssuer(certificate: Certificate, issuer: Certificate): boolean | undefined {
  if (!sameBytes(certificate.issuerDer, issuer.subjectDer)) return false;
  const { authorityKeyId } = certificate;
  if (
    authorityKeyId !== undefined && issuer.subjectKeyId !== undefined &&
    !sameBytes(authorityKeyId, issuer.subjectKeyId)
  ) {
    return false;
  }
  let verdicts = signed.get(certificate);
  if (verdicts === undefined) signed.set(certificate, verdicts = new WeakMap());
  if (!verdicts.has(issuer)) verdicts.set(issuer, isSignedBy(certificate, issuer.publicKey));
  return verdicts.get(issuer);
}

/**
 * By certificate and issuer: whether it signed. A node judges the certificates of a connection with each
 * request, and a signature takes a millisecond of Deno 2.7; everything else may change with time.
 */
const signed = new WeakMap<Certificate, WeakMap<Certificate, boolean | undefined>>();

export function isSelfIssued(certificate: Certificate): boolean {
  return sameBytes(certificate.issuerDer, certificate.subjectDer);
}

/**
 * The way from a certificate to a root: each is issued by the next. Where there are several ways, as
 * with a renewed intermediate beside the expired one, the first that holds.
 *
 * @param others intermediates and roots in any order, with or without superfluous ones.
 * @param roots the trusted ones.
 * @param source where the certificate comes from, for errors.
 * @param options.now milliseconds since the epoch, to check the dates of the CAs; left out not to.
 * The dates of the certificate itself are for `checkLeaf`.
 * @param options.purpose what the CAs must be allowed to certify for, of `extendedUsage`.
 * @throws {NoChainError} where there is no way.
 * @throws {PkiError} what is wrong with the first one found: `bad_chain`, `not_a_ca`, `expired`, `not_yet_valid`, `bad_certificate`, `unsupported_key` or
 * `wrong_key_usage`.
 */
export function chainOf(
  leaf: Certificate,
  others: Certificate[],
  roots: Certificate[],
  source: string,
  { now, purpose = extendedUsage.serverAuth }: { now?: number; purpose?: string } = {},
): Certificate[] {
  const search: Search = {
    ...{ others, roots, source, now, purpose },
    ...{ left: maxSignatures, last: leaf, fault: undefined, unverifiable: undefined },
  };
  const chain = follow([leaf], search);
  if (chain !== undefined) return chain;
  throw search.fault ?? noChain(leaf, search);
}

interface Search {
  others: Certificate[];
  roots: Certificate[];
  source: string;
  now: number | undefined;
  purpose: string;
  /** How many signatures may still be checked. */
  left: number;
  /** The end of the longest way so far. */
  last: Certificate;
  /** What is wrong with the first way to a root. */
  fault: PkiError | undefined;
  /** A step that may be right, with a signature of a kind that this system cannot verify. */
  unverifiable: { certificate: Certificate; issuer: Certificate } | undefined;
}

function follow(chain: Certificate[], search: Search): Certificate[] | undefined {
  const last = chain.at(-1)!;
  search.last = last;
  for (const root of search.roots) {
    if (!isStep(last, root, search)) continue;
    const whole = sameBytes(last.der, root.der) ? chain : [...chain, root];
    const fault = faultOf(whole, search);
    if (fault === undefined) return whole;
    search.fault ??= fault;
  }
  if (chain.length > maxChain) return undefined;
  for (const other of search.others) {
    if (!other.isCa || isSelfIssued(other) || chain.some(({ der }) => sameBytes(der, other.der))) {
      continue;
    }
    if (!isStep(last, other, search)) continue;
    const found = follow([...chain, other], search);
    if (found !== undefined) return found;
  }
  search.last = last;
  return undefined;
}

function isStep(certificate: Certificate, issuer: Certificate, search: Search): boolean {
  if (!sameBytes(certificate.issuerDer, issuer.subjectDer) || search.left-- <= 0) return false;
  const verdict = hasIssuer(certificate, issuer);
  if (verdict === undefined) search.unverifiable ??= { certificate, issuer };
  return verdict === true;
}

function noChain(leaf: Certificate, search: Search): PkiError {
  const { last, roots, source, unverifiable } = search;
  if (unverifiable !== undefined) {
    const { certificate: { subject, signatureAlgorithm }, issuer } = unverifiable;
    return new PkiError(
      "unsupported_key",
      `The signature of "${subject}" in "${source}" cannot be verified: ${signatureAlgorithm.name} ` +
        `by the ${issuer.keyType} key of "${issuer.subject}" is not supported`,
      {
        next: "Have it issued by a CA with an RSA (up to 4096 bits) or EC P-256 key",
        file: source,
      },
    );
  }
  const wanted = roots.map((root) => `"${root.subject}"`).join(" or ") || "any trusted CA";
  const hasSameName = roots.some((root) => sameBytes(root.subjectDer, last.issuerDer));
  return new NoChainError(
    `The certificate "${leaf.subject}" in "${source}" does not lead to ${wanted}: ` +
      `"${last.subject}" was issued by "${last.issuer}"` +
      (!hasSameName
        ? ""
        : last.signatureAlgorithm.isAccepted
        ? ", but not signed with the key of that CA"
        : `, signed in a way that TLS does not accept (${last.signatureAlgorithm.name})`),
    {
      next: "Give the CA that issued it with --ca, and intermediates after it in --cert",
      file: source,
    },
  );
}

function faultOf(chain: Certificate[], search: Search): PkiError | undefined {
  try {
    const { source } = search;
    checkCas(chain, search);
    checkLengths(chain, source);
    checkNames(chain, source);
    return undefined;
  } catch (error) {
    if (error instanceof PkiError) return error;
    throw error;
  }
}

/** Each CA on the way must be a CA, be valid now, and be allowed to certify for the purpose. */
function checkCas(chain: Certificate[], { source, now, purpose }: Search): void {
  for (const [index, certificate] of chain.entries()) {
    // A root is trusted because it is here; its own signature and extensions prove nothing.
    const isRoot = index === chain.length - 1;
    if (!isRoot) checkUsable(certificate, source);
    if (index === 0) continue;
    checkIsCa(certificate, source);
    if (now !== undefined) checkDates(certificate, source, now);
    if (mayUse(certificate, purpose)) continue;
    throw new PkiError(
      "wrong_key_usage",
      `The CA "${certificate.subject}" above "${source}" may not certify ` +
        `${
          purpose === extendedUsage.serverAuth ? "servers" : "clients"
        }, by its extended key usage`,
      { next: "Have a certificate issued by another CA", file: source },
    );
  }
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
