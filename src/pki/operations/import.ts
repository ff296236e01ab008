import { join } from "node:path";
import { Refusal } from "../../base/errors.ts";
import { previousPrefix } from "../directory/bundle.ts";
import { pemOf } from "../x509/pem.ts";
import type { Pki } from "../directory/context.ts";
import { publicMode, withDirectory } from "../directory/tls_directory.ts";
import { PkiError } from "../errors.ts";
import { type Certificate, parseCertificates, readCertificates } from "../x509/inspect.ts";
import { shellQuoted } from "../../base/shell_quoted.ts";
import { checkCa } from "../x509/validate.ts";

export interface Imported {
  root: string;
  certificate: Certificate;
  /** Its name in the trusted folder, or "ca" for this host's own. */
  label: string;
  /** False where it was trusted already. */
  added: boolean;
}

/**
 * Trusts another CA beside this host's own.
 *
 * @param name its label; by default made from its name.
 * @param text what is in the file, where it was read before.
 */
export async function importCa(
  pki: Pki,
  file: string,
  name?: string,
  text?: string,
): Promise<Imported> {
  const certificates = text === undefined ? readCertificates(file) : parseCertificates(text, file);
  certificates.forEach((certificate) => checkCa(certificate, file, pki.now()));
  const certificate = certificates[0]!;
  const label = labelOf(name ?? slug(certificate.commonName ?? ""), file);
  return await withDirectory(pki, async (directory) => {
    const { settings } = directory;
    const isIn = (known: Certificate[] | PkiError) =>
      Array.isArray(known) &&
      certificates.every(({ fingerprint }) => known.some((one) => one.fingerprint === fingerprint));
    const result = { root: settings.root, certificate };
    const trusted = directory.trusted();
    const there = trusted.find((known) =>
      isIn(known.certificates) &&
      // One that is kept for the time of a change may be meant to stay.
      (name === undefined || !known.label.startsWith(previousPrefix))
    );
    if (there !== undefined) return { ...result, label: there.label, added: false };
    if (isIn(directory.caCertificates())) return { ...result, label: "ca", added: false };
    if (trusted.some((known) => known.label === label)) {
      throw new Refusal(`Another CA is already trusted under the name "${label}"`, {
        next: `Choose another name: agent tls import-ca ${shellQuoted(file)} --name ${label}-2`,
      });
    }
    await directory.save({
      files: [{
        path: join(settings.trustedDir, `${label}.crt`),
        data: pemOf(certificates),
        mode: publicMode,
      }],
      ...settings.exists ? {} : { settings: { enabled: false } },
    });
    return { ...result, label, added: true };
  });
}

/** "Agent CA gpu1" is "agent-ca-gpu1". */
function slug(name: string): string {
  const plain = name.normalize("NFKD").replaceAll(/\p{M}/gu, "").toLowerCase().replaceAll(
    /[^a-z0-9]+/g,
    "-",
  );
  return plain.replaceAll(/^-+|-+$/g, "").slice(0, 64).replace(/-$/, "") || "ca";
}

function labelOf(label: string, file: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(label)) {
    throw new PkiError("bad_name", `${JSON.stringify(label.slice(0, 80))} cannot name a CA`, {
      exit: 2,
      next: "Use letters, digits, dots and hyphens, as in --name lab-b",
    });
  }
  if (label.startsWith(previousPrefix)) {
    throw new PkiError(
      "bad_name",
      `Names with "${previousPrefix}" are kept for this host's own CAs`,
      {
        exit: 2,
        next: `agent tls import-ca ${shellQuoted(file)} --name ${
          label.slice(previousPrefix.length) || "other"
        }`,
      },
    );
  }
  return label;
}
