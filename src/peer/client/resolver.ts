import { experimental, status } from "@grpc/grpc-js";
import { splitHost } from "../../base/address.ts";
import { messageOf } from "../../base/errors.ts";
import { dialableAddresses } from "../../deno/host_addresses.ts";

const { registerResolver, statusOrFromError, statusOrFromValue } = experimental;
type Resolver = experimental.Resolver;

/** Scheme of targets that are dialled by this resolver: `agent:host:port`. */
const scheme = "agent";

export function targetOf(address: string): string {
  return `${scheme}:${address}`;
}

/**
 * Resolves a name to the addresses that this thread may dial; gRPC's own resolver does not know about
 * permissions. gRPC tries them in order, alternating IPv6 and IPv4, and starts the next one when the
 * last has failed or taken 250 ms (RFC 8305, section 5). If none connects, it resolves the name again,
 * so a coordinator with a new address is found.
 */
class NameResolver implements Resolver {
  /** The running look-up. gRPC uses a resolver again after destroying it. */
  #current: symbol | undefined;
  #last = "";

  constructor(
    readonly target: { path: string },
    readonly listener: experimental.ResolverListener,
  ) {}

  updateResolution(): void {
    if (this.#current === undefined) void this.#resolve();
  }

  async #resolve(): Promise<void> {
    const own = this.#current = Symbol(this.target.path);
    try {
      const { host, port } = splitHost(this.target.path);
      const addresses = await dialableAddresses(host, port);
      if (this.#current !== own) return;
      // The same answer would only make gRPC start again with the first address.
      if (addresses.join() === this.#last) return;
      this.#last = addresses.join();
      const endpoints = addresses.map((address) => ({ addresses: [{ host: address, port }] }));
      this.listener(statusOrFromValue(endpoints), {}, null, "");
    } catch (error) {
      if (this.#current !== own) return;
      this.#last = "";
      const details = `Could not resolve "${this.target.path}": ${messageOf(error)}`;
      this.listener(statusOrFromError({ code: status.UNAVAILABLE, details }), {}, null, "");
    } finally {
      if (this.#current === own) this.#current = undefined;
    }
  }

  destroy(): void {
    this.#current = undefined;
    this.#last = "";
  }

  static getDefaultAuthority({ path }: { path: string }): string {
    return path;
  }
}

let registered = false;

export function registerNameResolver(): void {
  if (!registered) registerResolver(scheme, NameResolver);
  registered = true;
}
