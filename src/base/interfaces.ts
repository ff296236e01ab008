/** Which network interfaces of this host lead to other hosts. */

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

/** Loopback and link-local addresses: other hosts cannot dial them (RFC 3927, RFC 4291). */
const local = /^(127\.|169\.254\.|0\.|fe[89ab][0-9a-f]:|::1?$)/i;

/** The interfaces, one for each address, at which other hosts may reach this one. */
export function usableInterfaces(interfaces: Interface[]): Interface[] {
  return interfaces.filter(({ name, address }) => !virtual.test(name) && !local.test(address));
}
