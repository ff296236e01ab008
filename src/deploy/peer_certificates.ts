import { type Certificate, parseCertificates } from "../pki/x509/inspect.ts";
import { roleOf } from "../pki/x509/roles.ts";
import { renewalDue } from "../pki/x509/renewal.ts";
import { isIssuedBy } from "../pki/x509/chain.ts";
import type { PeerCertificates } from "./plan.ts";
import type { Facts } from "./preflight.ts";

/** Reads the certificates of a peer for the plan. Damaged files count as missing. */
export function certificatesThere(facts: Facts, ca: Certificate[], now: number): PeerCertificates {
  const [own] = certificatesIn(facts.certPem);
  return {
    caFingerprint: certificatesIn(facts.caPem)[0]?.fingerprint,
    certificate: own && {
      byOurCa: ca.some((each) => isIssuedBy(own, each)),
      names: [...own.hostnames, ...own.ips],
      role: roleOf(own),
      due: renewalDue({ ...own, now }),
    },
  };
}

function certificatesIn(pem: string | undefined): Certificate[] {
  if (pem === undefined) return [];
  try {
    return parseCertificates(pem, "the peer's file");
  } catch {
    return []; // A damaged file is replaced like a missing one.
  }
}
