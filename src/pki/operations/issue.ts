/** Makes a CA or a server certificate, with the files that keep it. */
import { dirname, join } from "node:path";
import type { FileChange } from "../../base/fs/file_transaction.ts";
import { shortFingerprint } from "../directory/bundle.ts";
import { pemOf } from "../x509/pem.ts";
import type { Issuer } from "../x509/issuer.ts";
import { keyMode, publicMode, type TlsDirectory } from "../directory/tls_directory.ts";
import { PkiError } from "../errors.ts";
import { type Certificate, pkcs8Pem } from "../x509/inspect.ts";
import type { KeyType } from "../x509/key_types.ts";
import { generateKey, publicKeyOf } from "../x509/keys.ts";
import { maxCommonName, type Names } from "../x509/names.ts";
import type { CertificateRole } from "../x509/roles.ts";
import { isSelfIssued } from "../x509/chain.ts";

/** The longest that Apple's systems accept for a server, also from a CA that a person trusts. */
const maxLeafDays = 825;

/** Something made, and the files that keep it. */
export interface Made<T> {
  made: T;
  files: FileChange[];
}

export async function makeCa(
  { settings, pki }: TlsDirectory,
  commonName: string,
  keyType: KeyType,
): Promise<Made<Issuer>> {
  const key = await generateKey(keyType);
  const days = settings.caValidityDays;
  const { certifyCa } = await import("../x509/certify.ts");
  const certificate = await certifyCa({ commonName, key, days, now: pki.now() });
  return {
    made: { certificate, others: [], key },
    files: [
      { path: settings.caCert, data: pemOf([certificate]), mode: publicMode },
      { path: settings.caKey, data: pkcs8Pem(key), mode: keyMode },
    ],
  };
}

export async function makeServer(
  directory: TlsDirectory,
  issuer: Issuer,
  names: Names,
  keyType: KeyType,
  role: CertificateRole | undefined,
): Promise<Made<Certificate>> {
  const { settings, pki } = directory;
  const between = intermediatesOf([issuer.certificate, ...issuer.others]);
  const key = await generateKey(keyType);
  const days = leafDays(settings.validityDays, settings.config);
  const publicKey = publicKeyOf(key);
  const { certify } = await import("../x509/certify.ts");
  const made = await certify({ issuer, publicKey, names, days, role, now: pki.now() });
  return {
    made,
    files: [
      { path: settings.serverCert, data: pemOf([made, ...between]), mode: publicMode },
      { path: settings.serverKey, data: pkcs8Pem(key), mode: keyMode },
      serialChange(settings.caSerial, made),
    ],
  };
}

/** The certificates between a host's and a root: the CA's own where that is no root. */
export function intermediatesOf(caFile: Certificate[]): Certificate[] {
  return caFile.filter((certificate) => !isSelfIssued(certificate));
}

/** The last serial number, as `openssl x509 -CAserial` reads it and counts on from it. */
export function serialChange(path: string, certificate: Certificate): FileChange {
  return { path, data: `${certificate.serial}\n`, mode: keyMode };
}

export function leafDays(days: number, config: string): number {
  if (days <= maxLeafDays) return days;
  throw new PkiError(
    "bad_settings",
    `"validity_days" is ${days}, and clients refuse certificates for hosts over ${maxLeafDays} days`,
    { exit: 2, next: `Lower it to ${maxLeafDays} in "${config}"`, file: config },
  );
}

/** The name of a new CA; the default is cut to fit, a given one must fit. */
export function caNameOf(given: string | undefined, hostname: string): string {
  if (given === undefined) return `Agent CA ${hostname}`.slice(0, maxCommonName);
  const length = [...given].length;
  if (length === 0 || length > maxCommonName || /\p{Cc}/u.test(given) || given.trim() !== given) {
    throw new PkiError("bad_name", `${JSON.stringify(given.slice(0, 80))} cannot be a CA's name`, {
      exit: 2,
      next: `Use 1 to ${maxCommonName} characters, such as --ca-name "Lab CA"`,
    });
  }
  return given;
}

/**
 * Moves a CA aside, no longer trusted, so that a re-key by mistake can be undone. Its key stays
 * protected.
 */
export function setCaAside(directory: TlsDirectory): Made<string | undefined> {
  const { caKey } = directory.settings;
  const key = directory.keyIfThere(caKey);
  // A peer may be changing over because its CA file is damaged.
  const certificate = key && directory.caCertificates()[0];
  if (certificate === undefined || key === undefined) return { made: undefined, files: [] };
  const base = join(dirname(caKey), `former-${shortFingerprint(certificate)}`);
  return {
    made: `${base}.key`,
    files: [
      { path: `${base}.crt`, data: pemOf([certificate]), mode: publicMode },
      { path: `${base}.key`, data: pkcs8Pem(key), mode: keyMode },
    ],
  };
}
