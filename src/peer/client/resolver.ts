import { experimental } from "@grpc/grpc-js";

const { registerResolver, splitHostPort, statusOrFromError, statusOrFromValue } = experimental;
type Resolver = experimental.Resolver;

/** Of targets that are dialled by this resolver: `agent:host:port`. */
const scheme = "agent";

export function targetOf(address: string): string {
  return `${scheme}:${address}`;
}

/**
 * Passes the name on to the connection unresolved. gRPC would resolve it and dial an IP address, for
 * which a process that was granted `name:port` has no permission. The name is resolved anew at each
 * connection, so a coordinator that has moved is found.
 */
class NameResolver implements Resolver {
  #told = false;

  constructor(
    readonly target: { path: string },
    readonly listener: experimental.ResolverListener,
  ) {}

  updateResolution(): void {
    // Once is enough: the answer never changes, and the load balancer dials again by itself.
    if (this.#told) return;
    this.#told = true;
    setTimeout(() => {
      if (!this.#told) return;
      const found = splitHostPort(this.target.path);
      const endpoints = found?.port === undefined
        ? statusOrFromError<experimental.Endpoint[]>({
          code: 3,
          details: `"${this.target.path}" is not "host:port"`,
        })
        : statusOrFromValue([{ addresses: [{ host: found.host, port: found.port }] }]);
      this.listener(endpoints, {}, null, "");
    }, 0);
  }

  destroy(): void {
    this.#told = false;
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
