import { certify } from "../x509/certify.ts";
import { readRequest } from "../x509/csr.ts";
import { pemOf } from "../x509/pem.ts";
import { bundleOf } from "../directory/bundle.ts";
import type { Pki } from "../directory/context.ts";
import { withDirectory } from "../directory/tls_directory.ts";
import { type Certificate, pkcs8Pem } from "../x509/inspect.ts";
import { generateKey, publicKeyOf, sameKind } from "../x509/keys.ts";
import type { Names } from "../x509/names.ts";
import type { CertificateRole } from "../x509/roles.ts";
import { intermediatesOf, leafDays, serialChange } from "./issue.ts";

export interface PeerFiles {
  /** The certificate and its intermediates. */
  cert: string;
  ca: string;
  /** The trust bundle of a peer that trusts this CA alone. */
  bundle: string;
  /** Only where it was made here. */
  key: string | undefined;
  certificate: Certificate;
}

/**
 * Certifies a peer in memory, for `tls deploy`: nothing but the serial number is written.
 *
 * @param csr the peer's own request, used only for its public key; without it a key is made.
 * @throws {PkiError} where this host does not hold the key of a CA, or the request is damaged.
 */
export async function issuePeer(
  pki: Pki,
  { csr, names, role }: {
    csr: string | undefined;
    names: Names;
    role: CertificateRole | undefined;
  },
): Promise<PeerFiles> {
  const request = csr === undefined ? undefined : await readRequest(csr, "the peer's request");
  return await withDirectory(pki, async (directory) => {
    const { settings } = directory;
    const issuer = directory.issuer();
    const caFile = [issuer.certificate, ...issuer.others];
    const key = request === undefined
      ? await generateKey(sameKind(issuer.certificate.keyType))
      : undefined;
    const certificate = await certify({
      issuer,
      publicKey: key === undefined ? request!.publicKey : publicKeyOf(key),
      names,
      days: leafDays(settings.validityDays, settings.config),
      role,
      now: pki.now(),
    });
    await directory.save({ files: [serialChange(settings.caSerial, certificate)] });
    return {
      cert: pemOf([certificate, ...intermediatesOf(caFile)]),
      ca: pemOf(caFile),
      bundle: bundleOf(caFile, []),
      key: key === undefined ? undefined : pkcs8Pem(key),
      certificate,
    };
  });
}
