/** Where this node can be dialled, worked out from its interfaces. */
import { isIP } from "node:net";
import { joinHost } from "../base/address.ts";
import { type Interface, usableInterfaces } from "../base/interfaces.ts";

export function isLoopbackHost(host: string): boolean {
  return host === "localhost" || /^127\./.test(host) || host === "::1";
}

/**
 * The addresses that peers should dial: those configured, else those listened on.
 *
 * @param host an IP address; 0.0.0.0 and :: stand for all interfaces.
 */
export function ownAddresses(
  { host, port, advertise }: { host: string; port: number; advertise: string[] },
  interfaces: Interface[],
): string[] {
  if (advertise.length > 0) return advertise.map((each) => withPort(each, port));
  if (host !== "0.0.0.0" && host !== "::") return [joinHost(host, port)];
  const found = usableInterfaces(interfaces)
    .filter(({ family }) => host === "::" || family === "IPv4")
    .toSorted((a, b) => a.family.localeCompare(b.family))
    .map(({ address }) => joinHost(address, port));
  return found.length > 0
    ? [...new Set(found)]
    : [joinHost(host === "::" ? "::1" : "127.0.0.1", port)];
}

function withPort(address: string, port: number): string {
  if (isIP(address) === 6) return joinHost(address, port);
  return /(^[^:]+|\]):\d+$/.test(address) ? address : `${address}:${port}`;
}

/** Loopback addresses of another host are not that host: dropped unless it has no others. */
export function dialable(addresses: string[]): string[] {
  const real = addresses.filter((each) => !isLoopbackHost(hostOf(each)));
  return real.length > 0 ? real : addresses;
}

export function hostOf(address: string): string {
  return address.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
}
