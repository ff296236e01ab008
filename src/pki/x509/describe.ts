/** How certificates look in the output of commands. */
import type { Certificate } from "./inspect.ts";
import { roleOf } from "./roles.ts";
import { daysLeft } from "./renewal.ts";

/** A certificate in the output of `--json`. */
export interface CertificateRecord {
  subject: string;
  issuer: string;
  serial: string;
  fingerprint_sha256: string;
  key_type: string;
  not_before: string;
  not_after: string;
  days_left: number;
  hostnames: string[];
  ips: string[];
  /** What the certificate is limited to; null for no limit, "unknown" for one that allows nothing. */
  role: string | null;
}

export function recordOf(certificate: Certificate, now: number): CertificateRecord {
  const { subject, issuer, serial, fingerprint, keyType, hostnames, ips } = certificate;
  return {
    subject,
    issuer,
    serial,
    fingerprint_sha256: fingerprint,
    key_type: keyType,
    not_before: instant(certificate.notBefore),
    not_after: instant(certificate.notAfter),
    days_left: daysLeft(certificate, now),
    hostnames,
    ips,
    role: roleOf(certificate) ?? null,
  };
}

/** What people call it: the CAs and hosts that are certified here have nothing but a common name. */
export function nameOf({ subject }: Pick<CertificateRecord, "subject">): string {
  return subject.replace(/^CN=/, "");
}

/** Certificates know whole seconds only. */
function instant(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, "Z");
}

/** "gpu1.lan, localhost, 10.0.0.5", shortened where it would fill the screen. */
export function namesText({ hostnames, ips }: { hostnames: string[]; ips: string[] }): string {
  const all = [...hostnames, ...ips];
  if (all.length === 0) return "no name and no address";
  const shown = all.slice(0, 8).join(", ");
  return all.length > 8 ? `${shown} and ${all.length - 8} more` : shown;
}
