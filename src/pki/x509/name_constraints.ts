/**
 * Name constraints: a CA may certify only some names (RFC 5280 section 4.2.1.10). Company CAs have
 * them, and every client refuses a host whose certificate breaks them.
 */
import {
  type Bytes,
  child,
  children,
  type Der,
  DerError,
  readDer,
  readOid,
  readText,
  tag,
} from "./der.ts";
import { ipFromBytes, ipToBytes } from "./names.ts";
import { printable } from "../../base/printable.ts";

/** The forms of a GeneralName that can be compared, by their tags. */
const formTag = { dns: 0x82, ip: 0x87, directory: 0xa4 } as const;
const emailTag = 0x81;

const formNames: Record<number, string> = {
  0x81: "e-mail addresses",
  [formTag.dns]: "DNS names",
  [formTag.directory]: "directory names",
  0x86: "URIs",
  [formTag.ip]: "addresses",
};

interface Subtree {
  /** The tag of its GeneralName. */
  form: number;
  base: Bytes;
  /** What RFC 5280 forbids, or of a length that no address has. */
  isMalformed: boolean;
}

export interface NameConstraints {
  permitted: Subtree[];
  excluded: Subtree[];
}

/** A name of a certificate in a form that constraints can limit; `value` is for comparing. */
interface Name {
  form: number;
  text: string;
  value: Bytes;
}

export function readNameConstraints(value: Bytes): NameConstraints {
  const parts = children(readDer(value, tag.sequence));
  const at = (kind: number) =>
    parts.filter((part) => part.tag === kind).flatMap((part) => children(part).map(readSubtree));
  return { permitted: at(0xa0), excluded: at(0xa1) };
}

function readSubtree(subtree: Der): Subtree {
  const [base, ...limits] = children(subtree);
  if (base === undefined) throw new DerError("a name constraint is malformed");
  if (base.tag === formTag.directory) comparable(base.value);
  const isMalformed = limits.length > 0 ||
    (base.tag === formTag.ip && base.value.length !== 8 && base.value.length !== 32);
  return { form: base.tag, base: base.value, isMalformed };
}

/** The names in a certificate; certificate.ts and extensions.ts say what they mean. */
interface CertifiedNames {
  hostnames: string[];
  ips: string[];
  otherNames: { form: number; value: Bytes }[];
  subject: string;
  subjectDer: Bytes;
  commonName: string | undefined;
  isCa: boolean;
}

/**
 * What is wrong with the names of a certificate below a CA with these constraints, as the end of a
 * sentence that began with the CA; undefined where nothing is.
 */
export function beyond(
  { permitted, excluded }: NameConstraints,
  certificate: CertifiedNames,
): string | undefined {
  for (const { form, text, value } of namesOf(certificate)) {
    const ofForm = (subtree: Subtree) => subtree.form === form;
    const [may, mayNot] = [permitted.filter(ofForm), excluded.filter(ofForm)];
    const all = [...may, ...mayNot];
    if (all.length === 0) continue;
    const isKnown = Object.values(formTag).some((known) => known === form);
    if (!isKnown || all.some(({ isMalformed }) => isMalformed)) {
      // The runtime's TLS refuses these whether the constraints are critical or not.
      return `limits ${formNames[form] ?? "names"} in a way that agent cannot check, ` +
        `and the certificate has ${text}`;
    }
    const isWithin = (subtree: Subtree) => matches(subtree, value);
    const forbidding = mayNot.filter((subtree) => isWithin(subtree) || isCovered(subtree, value));
    if (forbidding.length > 0) {
      return `may not certify ${listOf(forbidding)}, and the certificate is for ${text}`;
    }
    if (may.length > 0 && !may.some(isWithin)) {
      return `may certify only ${listOf(may)} among ${formNames[form]}, ` +
        `and the certificate is for ${text}`;
    }
  }
  return undefined;
}

function namesOf(certificate: CertifiedNames): Name[] {
  const { hostnames, ips, otherNames, subjectDer, subject, commonName, isCa } = certificate;
  const subjectParts = comparable(subjectDer);
  const dns = (name: string): Name => ({
    form: formTag.dns,
    text: `"${name}"`,
    value: new TextEncoder().encode(name),
  });
  const names = [
    ...hostnames.map(dns),
    ...ips.map((ip) => ({ form: formTag.ip, text: ip, value: new Uint8Array(ipToBytes(ip)) })),
    ...otherNames.map(({ form, value }) => ({
      form,
      text: form === formTag.directory ? "a directory name" : "one of them",
      value,
    })),
  ];
  // OpenSSL takes the common name for a host name where no other is given.
  if (!isCa && hostnames.length === 0 && commonName !== undefined && isHostname(commonName)) {
    names.push(dns(commonName));
  }
  if (subjectParts.length > 0) {
    names.push({ form: formTag.directory, text: `"${subject}"`, value: subjectDer });
  }
  if (subjectParts.some((part) => part.includes(emailOid))) {
    names.push({ form: emailTag, text: `one in "${subject}"`, value: subjectDer });
  }
  return names;
}

const emailOid = "1.2.840.113549.1.9.1=";

function isHostname(text: string): boolean {
  return /^[a-z0-9_*]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)+$/i.test(text);
}

function matches({ form, base }: Subtree, value: Bytes): boolean {
  if (form === formTag.dns) return isBelow(latin1(value), latin1(base));
  if (form === formTag.directory) {
    const [own, prefix] = [comparable(value), comparable(base)];
    return prefix.every((part, index) => part === own[index]);
  }
  const half = base.length / 2;
  return value.length === half &&
    value.every((byte, i) => ((byte ^ base[i]!) & base[half + i]!) === 0);
}

/** Whether a wildcard stands for what the subtree is about. */
function isCovered({ form, base }: Subtree, value: Bytes): boolean {
  const name = latin1(value).toLowerCase();
  return form === formTag.dns && name.startsWith("*.") &&
    latin1(base).toLowerCase().replace(/^[^.]+/, "*") === name;
}

/** "lan" has "a.lan" and itself below it; ".lan", which some CAs write, only "a.lan". */
function isBelow(name: string, base: string): boolean {
  const [own, above] = [name.toLowerCase(), base.toLowerCase()];
  return above === "" || own === above ||
    own.endsWith(above.startsWith(".") ? above : `.${above}`);
}

/** The parts of a Name, such that equal ones are equal texts (RFC 5280 section 7.1). */
export function comparable(name: Bytes): string[] {
  return children(readDer(name, tag.sequence)).map((set) =>
    children(set).map((attribute) => {
      const parts = children(attribute);
      const text = readText(child(parts, 1));
      return `${readOid(child(parts, 0))}=${text.trim().replaceAll(/\s+/g, " ").toLowerCase()}`;
    }).toSorted().join("+")
  );
}

function listOf(subtrees: Subtree[]): string {
  return subtrees.map(({ form, base }) => {
    if (form === formTag.dns) return `"${printable(latin1(base))}"`;
    if (form === formTag.directory) return `"${printable(comparable(base).join(", "))}"`;
    const half = base.length / 2;
    const [from, mask] = [ipFromBytes(base.subarray(0, half)), ipFromBytes(base.subarray(half))];
    return `${from}/${mask}`;
  }).join(", ");
}

function latin1(bytes: Bytes): string {
  return new TextDecoder("latin1").decode(bytes);
}
