/** Roles in certificates: what the owner of a certificate may do in a cluster. */
import { PkiError } from "../errors.ts";
import type { Certificate } from "./certificate.ts";

export const certificateRoles = ["coordinator", "worker", "client", "node"] as const;
export type CertificateRole = (typeof certificateRoles)[number];

const prefix = "agent:role:";

/**
 * The role that the successor of a certificate gets.
 *
 * @throws {PkiError} where it is none that this version can issue.
 */
export function keptRole(certificate: Certificate | undefined): CertificateRole | undefined {
  const role = certificate && roleOf(certificate);
  if (role !== "unknown") return role;
  throw new PkiError(
    "bad_certificate",
    `The certificate "${
      certificate!.subject
    }" is limited to a role that this version does not know`,
    { next: "Update agent on this host" },
  );
}

/** GeneralName [6] uniformResourceIdentifier (RFC 5280 section 4.2.1.6). */
const uriForm = 0x86;

/**
 * The alternative name that carries a role. A URI, because every verifier skips alternative names of
 * forms that it does not check, while an unknown extension or a fake host name would be noticed.
 */
export function roleUri(role: CertificateRole): string {
  return prefix + role;
}

/**
 * The role that a certificate is limited to; undefined where it is not limited.
 *
 * @returns "unknown" for a role of another version, or for several: its owner may do nothing, since
 * a limit that is not understood must not become no limit.
 */
export function roleOf(certificate: Certificate): CertificateRole | "unknown" | undefined {
  return roleIn(
    certificate.otherNames
      .filter(({ form }) => form === uriForm)
      .map(({ value }) => new TextDecoder("latin1").decode(value)),
  );
}

/** The same for the URIs among the alternative names of a certificate or a request. */
export function roleIn(uris: string[]): CertificateRole | "unknown" | undefined {
  const roles = uris
    .filter((uri) => uri.toLowerCase().startsWith(prefix))
    .map((uri) => uri.slice(prefix.length));
  const [role] = roles;
  if (role === undefined) return undefined;
  if (new Set(roles).size > 1) return "unknown";
  return certificateRoles.find((known) => known === role) ?? "unknown";
}
