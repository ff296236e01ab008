/** Where this node can be dialled, worked out from its interfaces. */
import { isIP } from "node:net";
import { joinHost } from "../base/address.ts";

export interface Interface {
  name: string;
  family: "IPv4" | "IPv6";
  address: string;
}

/**
 * Bridges and tunnels of container engines and virtual machines: their addresses are the same on
 * every host, or lead nowhere from outside. VPN interfaces (tun, wg, tailscale) do reach others.
 */
const virtual =
  /^(docker|br-|veth|virbr|vnet|cni|flannel|cali|cilium|lxc|lxdbr|podman|vmnet|vboxnet|kube|nerdctl|weave|ovs|dummy|ifb|tunl)/;

/** Own addresses of one kind of interface are not for other hosts (RFC 3927, RFC 4291). */
const local = /^(127\.|169\.254\.|0\.|fe[89ab][0-9a-f]:|::1?$)/i;

export function isLoopbackHost(host: string): boolean {
  return host === "localhost" || /^127\./.test(host) || host === "::1";
}

/** Interfaces on which other hosts may be, one address of each family and network. */
export function usableInterfaces(interfaces: Interface[]): Interface[] {
  return interfaces.filter(({ name, address }) => !virtual.test(name) && !local.test(address));
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
