/** Reads the extensions of a certificate (RFC 5280 section 4.2.1). */
import { type Bytes, child, children, type Der, readBits, readDer, readOid, tag } from "./der.ts";
import { ipFromBytes } from "./names.ts";
import { comparable, type NameConstraints, readNameConstraints } from "./name_constraints.ts";
import { printable } from "../../base/printable.ts";

export interface Extensions {
  hostnames: string[];
  ips: string[];
  /** Alternative names that are neither, by their tags. */
  otherNames: { form: number; value: Bytes }[];
  /** The names that a CA may certify. */
  nameConstraints: NameConstraints | undefined;
  isCa: boolean;
  /** How many CAs may come between this one and a host; undefined for any number. */
  pathLength: number | undefined;
  /** Critical extensions that the runtime's TLS does not handle; it refuses the certificate. */
  unknownCritical: string[];
  /** The identifier of an extension that appears more than once; verifiers refuse that. */
  duplicateExtension: string | undefined;
  /** Undefined where the certificate does not restrict its use. */
  keyUsage: Set<number> | undefined;
  /** Object identifiers; undefined where the certificate does not restrict its use. */
  extendedKeyUsage: string[] | undefined;
  subjectKeyId: Bytes | undefined;
  authorityKeyId: Bytes | undefined;
}

/** The bits of key usage that matter here (RFC 5280 section 4.2.1.3). */
export const keyUsageBit = {
  digitalSignature: 0,
  keyEncipherment: 2,
  keyCertSign: 5,
  crlSign: 6,
} as const;
export const extendedUsage = {
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;

/**
 * Key usage, alternative names, basic constraints, name constraints, CRL distribution points and
 * extended key usage: the critical ones that rustls accepts in Deno 2.7 and 2.9, as tried with each
 * of RFC 5280 section 4.2.1. OpenSSL accepts policies as well.
 */
const handledExtensions = /^2\.5\.29\.(15|17|19|30|31|37)$/;

/** Reads the extensions in their wrapper; a certificate of version 1 has none. */
export function readExtensions(wrapper: Der | undefined): Extensions {
  const found: Extensions = {
    hostnames: [],
    ips: [],
    otherNames: [],
    nameConstraints: undefined,
    isCa: false,
    pathLength: undefined,
    unknownCritical: [],
    duplicateExtension: undefined,
    keyUsage: undefined,
    extendedKeyUsage: undefined,
    subjectKeyId: undefined,
    authorityKeyId: undefined,
  };
  if (wrapper === undefined) return found;
  const seen = new Set<string>();
  for (const extension of children(child(children(wrapper), 0, tag.sequence))) {
    const parts = children(extension);
    const oid = readOid(child(parts, 0));
    if (seen.has(oid)) found.duplicateExtension ??= oid;
    seen.add(oid);
    const value = child(parts, parts.length - 1, tag.octetString).value;
    const isCritical = parts[1]?.tag === tag.boolean && parts[1].value[0] !== 0;
    if (isCritical && !handledExtensions.test(oid)) found.unknownCritical.push(oid);
    if (oid === "2.5.29.17") Object.assign(found, alternativeNames(readDer(value, tag.sequence)));
    if (oid === "2.5.29.19") {
      const [first, second] = children(readDer(value, tag.sequence));
      found.isCa = first?.tag === tag.boolean && first.value[0] !== 0;
      // Never above one byte in practice; a longer one restricts nothing.
      if (second?.value.length === 1) found.pathLength = second.value[0];
    }
    if (oid === "2.5.29.30") found.nameConstraints = readNameConstraints(value);
    if (oid === "2.5.29.15") found.keyUsage = readBits(readDer(value));
    if (oid === "2.5.29.37") {
      found.extendedKeyUsage = children(readDer(value, tag.sequence)).map(readOid);
    }
    if (oid === "2.5.29.14") found.subjectKeyId = readDer(value, tag.octetString).value;
    if (oid === "2.5.29.35") {
      found.authorityKeyId = children(readDer(value, tag.sequence))
        .find((part) => part.tag === 0x80)?.value;
    }
  }
  return found;
}

function alternativeNames(
  names: Der,
): Pick<Extensions, "hostnames" | "ips" | "otherNames"> {
  const hostnames: string[] = [];
  const ips: string[] = [];
  const otherNames: Extensions["otherNames"] = [];
  for (const { tag: kind, value } of children(names)) {
    const ip = kind === 0x87 ? ipFromBytes(value) : undefined;
    // Directory names are compared later; a damaged one must fail here.
    if (kind === 0xa4) comparable(value);
    if (kind === 0x82) hostnames.push(printable(new TextDecoder("latin1").decode(value)));
    else if (ip !== undefined) ips.push(ip);
    else otherNames.push({ form: kind, value });
  }
  return { hostnames, ips, otherNames };
}
