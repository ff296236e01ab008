/** Detects the names and addresses of this host, without a process and without the network. */
import { isIP } from "node:net";
import { type Names, parseHostname, parseIp, union } from "../x509/names.ts";

/** Enough for any host; a machine with hundreds of container addresses must not fill a certificate. */
export const maxDetected = 32;

export interface Detected extends Names {
  /** What the host calls itself. */
  hostname: string;
  /** What did not fit. */
  leftOut: string[];
}

/** The facts that detection rests on. */
export interface HostFacts {
  hostname: string;
  /** The text of /etc/hosts, where there is one. */
  hosts: string | undefined;
  /** The text of /etc/resolv.conf, where there is one. */
  resolvConf: string | undefined;
  addresses: string[];
}

/** Asks the system. */
export function hostFacts(): HostFacts {
  const unix = Deno.build.os === "linux" || Deno.build.os === "freebsd";
  const [hosts, resolvConf] = unix
    ? [textOf("/etc/hosts"), textOf("/etc/resolv.conf")]
    : [undefined, undefined];
  const addresses = Deno.networkInterfaces().map(({ address }) => address);
  return { hostname: Deno.hostname(), hosts, resolvConf, addresses };
}

/** Works out the names and addresses that others may dial, most likely first. */
export function detect(facts: HostFacts): Detected {
  const hostname = hostLabel(facts.hostname);
  const names = union({
    hostnames: [
      hostname,
      ...namesInHosts(facts.hosts ?? "", hostname),
      ...searchDomains(facts.resolvConf ?? "").filter(() => !hostname.includes("."))
        .map((domain) => `${hostname}.${domain}`),
    ].flatMap((name) => whereValid(parseHostname, name)),
    ips: facts.addresses.flatMap((ip) => whereValid(parseIp, ip)).filter(isDialable)
      .toSorted((a, b) => isIP(a) - isIP(b)),
  });
  const all = [...names.hostnames, ...names.ips];
  const kept = new Set(all.slice(0, maxDetected));
  return {
    hostname,
    hostnames: names.hostnames.filter((name) => kept.has(name)),
    ips: names.ips.filter((ip) => kept.has(ip)),
    leftOut: all.slice(maxDetected),
  };
}

/** A system may be called what no certificate can hold; then it is just a host. */
function hostLabel(name: string): string {
  return whereValid(parseHostname, name)[0] ?? "host";
}

/** All names of the lines that name the host; the first there is its full name by convention. */
function namesInHosts(text: string, hostname: string): string[] {
  return lines(text).flatMap((line) => {
    const [address, ...names] = line.split(/\s+/);
    if (address === undefined || isIP(address) === 0) return [];
    return names.some((name) => name.toLowerCase() === hostname)
      ? names.filter((name) => name !== "localhost" && !name.startsWith("localhost."))
        // A file of single hosts knows no wildcards, so what looks like one is a mistake.
        .filter((name) => !name.startsWith("ip6-") && !name.includes("*"))
      : [];
  });
}

/** The first search domain, which is the host's own; `domain` is its older form. */
function searchDomains(text: string): string[] {
  const found = lines(text).map((line) => /^(?:search|domain)\s+(\S+)/.exec(line)?.[1])
    .filter((domain) => domain !== undefined && domain !== ".");
  return found.slice(0, 1) as string[];
}

function lines(text: string): string[] {
  return text.split("\n").map((line) => line.replace(/#.*/, "").trim());
}

/** Loopback is always covered; link-local addresses mean nothing without an interface. */
function isDialable(ip: string): boolean {
  return !/^(127\.|169\.254\.|0\.|fe[89ab][0-9a-f]:|::1?$)/.test(ip);
}

function whereValid(parse: (text: string) => string, text: string): string[] {
  try {
    return [parse(text)];
  } catch {
    // A certificate cannot hold it.
    return [];
  }
}

function textOf(path: string): string | undefined {
  try {
    // A pipe would keep every command waiting for its writer.
    return Deno.statSync(path).isFile ? Deno.readTextFileSync(path) : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) {
      return undefined;
    }
    throw error;
  }
}
