import { isIP } from "node:net";

/** Bridges and tunnels of container engines, and addresses that lead nowhere else. */
const inside = /^(lo|docker|br-|veth|virbr|cni|flannel|cali|podman)/;

/** Addresses of this host at which other hosts may reach it. */
export function hostInterfaces(): string[] {
  return Deno.networkInterfaces()
    .filter(({ name, address }) =>
      !inside.test(name) && !/^(127\.|169\.254\.|fe80:)/i.test(address)
    )
    .map(({ address }) => address)
    .filter((address) => isIP(address) !== 0 && address !== "::1");
}
