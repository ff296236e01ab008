/**
 * The addresses of a host that this thread may dial.
 *
 * A thread with a grant for `name:port` may look the name up, but Deno lets it connect to the first
 * address only: the second try of `net.connect` is refused, in 2.9 with an error that no handler can
 * catch (seen with 2.7.14 and 2.9.6). So the main thread adds the addresses that a name has at start
 * to the grants (sandbox/addresses.ts), and we choose among those. This file can go when a grant by
 * name covers every address of the name.
 */
import { lookup, type LookupAddress, type LookupOptions } from "node:dns";
import { isIP, setDefaultAutoSelectFamily } from "node:net";

/** All addresses of a host, as the system resolves them. */
export function addressesOf(host: string, port: number): Promise<string[]> {
  if (isAddress(host)) return Promise.resolve([host]);
  // Without the port, Deno asks whether the name may be dialled at every port.
  const options: LookupOptions & { all: true; port: number } = { all: true, port };
  return new Promise((resolve, reject) => {
    lookup(host, options, (error, found: LookupAddress[]) => {
      if (error !== null) reject(error);
      else resolve([...new Set(found.map(({ address }) => address))]);
    });
  });
}

/**
 * Those of them that may be dialled. Where that is none, because the name has other addresses than
 * at the start, it is the name itself: it leads to the first of them.
 *
 * @throws {Error} with a `code` such as ENOTFOUND where the name cannot be resolved.
 */
export async function dialableAddresses(host: string, port: number): Promise<string[]> {
  if (isAddress(host)) return [host];
  const all = await addressesOf(host, port);
  const granted = all.filter((address) =>
    Deno.permissions.querySync({ name: "net", host: `${written(address)}:${port}` }).state ===
      "granted"
  );
  if (granted.length > 0) return granted;
  // Else a name with several addresses ends in the error that cannot be caught.
  setDefaultAutoSelectFamily(false);
  return [host];
}

/** An IP address, for IPv6 also with the interface that it is reached by. */
export function isAddress(host: string): boolean {
  return isIP(host.split("%")[0]!) !== 0;
}

/** IPv6 in brackets. */
function written(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}
