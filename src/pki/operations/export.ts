import { writeFileAtomic } from "../../base/fs/atomic_file.ts";
import { pemOf } from "../x509/pem.ts";
import type { Pki } from "../directory/context.ts";
import { isThere, publicMode, readCas } from "../directory/tls_directory.ts";
import { PkiError } from "../errors.ts";
import type { Certificate } from "../x509/inspect.ts";
import { refuseInside } from "./mint.ts";
import { readTlsSettings } from "../directory/settings.ts";

export interface ExportedCa {
  certificate: Certificate;
  /** Certificates only, whatever else the file of the CA may hold. */
  pem: string;
}

/** The CA's certificate, for others to trust; written to a file if one is named. */
export async function exportCa(pki: Pki, out?: string): Promise<ExportedCa> {
  const settings = await readTlsSettings(pki.root);
  if (!isThere(settings.caCert)) {
    throw new PkiError("no_ca", `There is no CA in "${pki.root}"`, { next: "agent tls init" });
  }
  const certificates = readCas(settings.caCert);
  const exported = { certificate: certificates[0]!, pem: pemOf(certificates) };
  if (out !== undefined) {
    refuseInside(pki.root, out);
    writeFileAtomic(out, exported.pem, publicMode, pki);
  }
  return exported;
}
