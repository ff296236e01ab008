import type { PkiError } from "../errors.ts";
import type { Certificate } from "../x509/inspect.ts";
import { certificatePem } from "../x509/pem.ts";

/** A file of `trusted/`. */
export interface Trusted {
  /** The file's name without `.crt`. */
  label: string;
  path: string;
  /** Or why they could not be read. */
  certificates: Certificate[] | PkiError;
}

/** Prefix of the names under which former CAs of this host are kept. */
export const previousPrefix = "previous-";

/** The label under which a former CA stays trusted. */
export function previousLabel(certificate: Certificate): string {
  return previousPrefix + shortFingerprint(certificate);
}

/** Enough of a fingerprint to tell two CAs apart in a file's name. */
export function shortFingerprint(certificate: Certificate): string {
  return certificate.fingerprint.replaceAll(":", "").slice(0, 16).toLowerCase();
}

/** The text of the trust bundle: the CA, then every trusted one, each once; empty for none. */
export function bundleOf(ca: Certificate[], trusted: Trusted[]): string {
  const seen = new Set<string>();
  const all = [
    ...ca,
    ...trusted.toSorted((a, b) => a.label < b.label ? -1 : 1)
      .flatMap(({ certificates }) => Array.isArray(certificates) ? certificates : []),
  ];
  return all.filter(({ fingerprint }) => !seen.has(fingerprint) && seen.add(fingerprint))
    .map((certificate) => `# ${certificate.subject}\n${certificatePem(certificate.der)}`)
    .join("");
}
