/** What a request says of its caller and its address, with a trusted proxy in between or not. */
import type { IncomingMessage } from "node:http";
import { BlockList, isIP } from "node:net";
import type { TLSSocket } from "node:tls";

export interface RequestFacts {
  /** IP address of the caller. */
  source: string;
  /** `host` or `host:port` as the caller typed it, in lower case. */
  host: string | undefined;
  /** Whether the caller's own connection is encrypted. */
  secure: boolean;
}

/** Proxies by IP address or network. */
export type TrustedProxies = (address: string) => boolean;

export function trustedProxies(list: readonly string[]): TrustedProxies {
  if (list.length === 0) return () => false;
  const blocks = new BlockList();
  for (const each of list) {
    const [address = "", bits] = each.split("/");
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    if (bits === undefined) blocks.addAddress(address, family);
    else blocks.addSubnet(address, Number(bits), family);
  }
  return (address) =>
    isIP(address) !== 0 && blocks.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

/**
 * The `X-Forwarded-*` headers count only where the connection comes from a trusted proxy; of several
 * addresses in it, the last that is not such a proxy is the caller.
 */
export function factsOf(request: IncomingMessage, isProxy: TrustedProxies): RequestFacts {
  const socket = request.socket as Partial<TLSSocket>;
  const remote = plainIp(socket.remoteAddress ?? "");
  const own = {
    source: remote,
    host: request.headers.host?.toLowerCase(),
    secure: socket.encrypted === true,
  };
  if (!isProxy(remote)) return own;
  const chain =
    header(request, "x-forwarded-for")?.split(",").map((each) => plainIp(each.trim())) ?? [];
  // What stands before the last that is no proxy was written by the caller itself.
  const last = chain.findLast((each) => !isProxy(each)) ?? remote;
  return {
    source: isIP(last) === 0 ? remote : last,
    host: header(request, "x-forwarded-host")?.toLowerCase() ?? own.host,
    secure: (header(request, "x-forwarded-proto") ?? (own.secure ? "https" : "http")) === "https",
  };
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(",") : value;
}

/**
 * IPv4 as it is, also where a socket that listens on `::` shows it as a part of IPv6; without the port
 * that some proxies add.
 */
function plainIp(address: string): string {
  if (!address.includes(":")) return address;
  return address.replace(/^\[(.*)\](?::\d+)?$/, "$1").replace(/^([\d.]+):\d+$/, "$1")
    .replace(/^::ffff:(?=[\d.]+$)/i, "");
}

/**
 * Whether a `Host` header names this node. Any web page can make a browser send requests to an
 * address of ours under a name of its own (DNS rebinding); under an IP address or our own names it
 * cannot, as it does not control them.
 */
export function isOwnHost(host: string | undefined, names: () => Iterable<string>): boolean {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+))(?::\d{1,5})?$/i.exec(host ?? "");
  const name = match?.[1] ?? match?.[2]?.replace(/\.$/, "");
  if (name === undefined) return false;
  if (isIP(name) !== 0 || name === "localhost") return true;
  for (const each of names()) {
    const own = each.toLowerCase();
    if (own === name) return true;
    // A wildcard covers one label (RFC 9525, 6.3).
    if (own.startsWith("*.") && name.replace(/^[^.]+/, "*") === own) return true;
  }
  return false;
}

/** Whether a change comes from our own pages, or from no page at all. */
export function isOwnOrigin(origin: string | undefined, facts: RequestFacts): boolean {
  if (origin === undefined) return true;
  try {
    const { protocol, host } = new URL(origin);
    return host === withoutDefaultPort(facts) && protocol === (facts.secure ? "https:" : "http:");
  } catch {
    return false; // "null": a sandboxed frame or a redirect.
  }
}

function withoutDefaultPort({ host, secure }: RequestFacts): string | undefined {
  return host?.replace(secure ? /:443$/ : /:80$/, "");
}
