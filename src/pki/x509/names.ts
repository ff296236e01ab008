import { isIP } from "node:net";
import { domainToASCII } from "node:url";
import { PkiError } from "../errors.ts";

/** The names and addresses that a certificate covers. */
export interface Names {
  hostnames: string[];
  ips: string[];
}

/** Names that every certificate covers, so that a host can always reach itself. */
export const loopbackNames: Names = { hostnames: ["localhost"], ips: ["127.0.0.1", "::1"] };

/** All of both, each once, in the order in which they first appear. */
export function union(...all: Names[]): Names {
  return {
    hostnames: [...new Set(all.flatMap((names) => names.hostnames))],
    ips: [...new Set(all.flatMap((names) => names.ips))],
  };
}

/** The names of `wanted` that `covered` lacks; a wildcard covers one label (RFC 6125 section 6.4.3). */
export function missing(wanted: Names, covered: Names): Names {
  const names = new Set(covered.hostnames.map((name) => name.toLowerCase()));
  const covers = (name: string) =>
    names.has(name.toLowerCase()) || names.has(name.toLowerCase().replace(/^[^.]+/, "*"));
  return {
    hostnames: wanted.hostnames.filter((name) => !covers(name)),
    ips: wanted.ips.filter((ip) => !covered.ips.includes(ip)),
  };
}

export function isEmpty(names: Names): boolean {
  return names.hostnames.length === 0 && names.ips.length === 0;
}

export function listNames(names: Names): string {
  return [...names.hostnames, ...names.ips].join(", ");
}

/** X.520 limits a common name to 64 characters, and OpenSSL checks it. */
export const maxCommonName = 64;

/** The common name of a certificate for these, for people: the first that tells hosts apart. */
export function commonNameFor(names: Names): string {
  const { hostnames, ips } = missing(names, loopbackNames);
  return [...hostnames, ...ips].find((name) => name.length <= maxCommonName) ?? "localhost";
}

/** Reads names as a person gives them; throws on the first that a certificate cannot carry. */
export function parseNames(hostnames: string[], ips: string[]): Names {
  return union({ hostnames: hostnames.map(parseHostname), ips: ips.map(parseIp) });
}

/** A name that no certificate is issued for, and why. */
export interface RefusedName {
  name: string;
  reason: string;
}

/**
 * Sorts names by whether a certificate can be issued for them. Certificates of other CAs and files
 * that were edited by hand hold others too.
 *
 * @returns the good ones in their canonical form.
 */
export function certifiable(
  { hostnames, ips }: Names,
): { names: Names; refused: RefusedName[] } {
  const refused: RefusedName[] = [];
  const read = (parse: (text: string) => string) => (name: string) => {
    try {
      return [parse(name)];
    } catch (error) {
      if (!(error instanceof PkiError)) throw error;
      refused.push({ name, reason: error.message });
      return [];
    }
  };
  const names = union({
    hostnames: hostnames.flatMap(read(parseHostname)),
    ips: ips.flatMap(read(parseIp)),
  });
  return { names, refused };
}

/**
 * Reads a host name: letters, digits, hyphens and underscores, `*` as the whole first label;
 * others become their ASCII form (RFC 5891).
 */
export function parseHostname(text: string): string {
  const given = JSON.stringify(text.slice(0, 80));
  if (isIP(text.replace(/^\[|\]$/g, "")) !== 0) {
    throw new PkiError("bad_name", `${given} is an address, not a host name`, {
      exit: 2,
      next: `Give it as --ip ${text}`,
    });
  }
  const wildcard = text.startsWith("*.");
  const rest = (wildcard ? text.slice(2) : text).replace(/\.$/, "");
  // The conversion would also accept URL syntax, so only what it exists for is handed to it.
  // deno-lint-ignore no-control-regex
  const ascii = /^[\x00-\x7f]*$/.test(rest) ? rest.toLowerCase() : domainToASCII(rest);
  const labels = ascii.split(".");
  // 253 and 63 are the limits of DNS, RFC 1035 section 2.3.4.
  const valid = ascii.length > 0 && ascii.length <= (wildcard ? 251 : 253) &&
    labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label));
  // A last label of digits only would be read as an address by browsers.
  if (!valid || (/^\d+$/.test(labels.at(-1)!) && labels.length > 1)) {
    throw new PkiError("bad_name", `${given} is not a host name that a certificate can cover`, {
      exit: 2,
      next: 'Use letters, digits, hyphens and dots, as in "gpu1.lan"',
    });
  }
  return wildcard ? `*.${ascii}` : ascii;
}

/** Reads an IPv4 or IPv6 address and writes it in its one canonical form. */
export function parseIp(text: string): string {
  const bare = text.replace(/^\[(.*)\]$/, "$1");
  if (isIP(bare) === 0 || bare.includes("%")) {
    throw new PkiError("bad_name", `${JSON.stringify(text.slice(0, 80))} is not an IP address`, {
      exit: 2,
      next: 'Write it as "10.0.0.5" or "fd00::5"; names are given with --hostname',
    });
  }
  return isIP(bare) === 4 ? bare : new URL(`http://[${bare}]`).hostname.slice(1, -1);
}

/** The text of an address as certificates hold it: 4 or 16 bytes. */
export function ipFromBytes(bytes: Uint8Array): string | undefined {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) return undefined;
  const groups = Array.from(
    { length: 8 },
    (_, i) => (bytes[2 * i]! * 256 + bytes[2 * i + 1]!).toString(16),
  );
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

/** The 4 or 16 bytes of an address in its canonical form. */
export function ipToBytes(ip: string): Uint8Array {
  if (isIP(ip) === 4) return new Uint8Array(ip.split(".").map(Number));
  const [head = "", tail] = ip.split("::");
  const groups = (text: string) =>
    text === "" ? [] : text.split(":").map((part) => parseInt(part, 16));
  const [first, last] = [groups(head), groups(tail ?? "")];
  const all = [...first, ...Array(8 - first.length - last.length).fill(0), ...last];
  return new Uint8Array(all.flatMap((group) => [group >> 8, group & 0xff]));
}

/** The names as options of a command line. */
export function flagsOf({ hostnames, ips }: Names, nameFlag: string, ipFlag: string): string {
  return [
    ...hostnames.map((name) => `${nameFlag} ${name}`),
    ...ips.map((ip) => `${ipFlag} ${ip}`),
  ].join(" ");
}
