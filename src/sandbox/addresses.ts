import { joinHost, splitHost } from "../base/address.ts";
import { addressesOf, isAddress } from "../deno/host_addresses.ts";
import type { Grants } from "./grants.ts";

/** Longer than a name server that answers needs; the thread asks again, and reports the failure. */
const resolveMs = 1_000;

/**
 * The grants, with the addresses of each granted `name:port` beside it: a grant by name covers only
 * the first (see deno/host_addresses.ts). A name that cannot be resolved now adds nothing.
 */
export async function withAddresses(grants: Grants): Promise<Grants> {
  if (grants.net === true) return grants;
  const named = grants.net.flatMap((item) => {
    // Port 0, any free one, is only for listening, which is always at an IP address.
    if (item.endsWith(":0")) return [];
    const { host, port } = splitHost(item);
    return !isAddress(host) ? [{ host, port }] : [];
  });
  if (named.length === 0) return grants;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), resolveMs);
  const found = await Promise.all(named.map(({ host, port }) =>
    Promise.race([
      addressesOf(host, port).then((all) => all.map((address) => joinHost(address, port))),
      new Promise<string[]>((resolve) => late.signal.addEventListener("abort", () => resolve([]))),
    ]).catch(() => [])
  ));
  clearTimeout(timer);
  return { ...grants, net: [...new Set([...grants.net, ...found.flat()])] };
}
