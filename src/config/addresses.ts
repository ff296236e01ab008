import { isIP } from "node:net";

/** RFC 1123 names, with underscores because container networks use them. */
const hostName = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*))*$/i;

/** An IP address or a host name; digits and dots alone are a mistyped IPv4 address. */
export function isHost(value: string): boolean {
  return isIP(value) !== 0 || (hostName.test(value) && !/^[\d.]+$/.test(value));
}

/** An IP address, or a network as `10.0.0.0/8` (RFC 4632, 3.1). */
export function isNetwork(value: string): boolean {
  const [, address = "", prefix] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(value) ?? [];
  const family = isIP(address);
  return family !== 0 && (prefix === undefined || Number(prefix) <= (family === 4 ? 32 : 128));
}

/**
 * `host:port`, `[v6]:port`; without a port, `defaultPort`. The dot that may end a name (`gpu1.lan.`)
 * is dropped: no certificate contains it.
 */
export function splitAddress(
  value: string,
  defaultPort?: number,
): { host: string; port: number } | undefined {
  const bare = isIP(value) === 6 ? [value, value, undefined] : undefined;
  const match = bare ?? /^\[([^\]]*)\](?::(\d{1,5}))?$/.exec(value) ??
    /^([^:]*)(?::(\d{1,5}))?$/.exec(value);
  if (!match) return undefined;
  const [, name = "", digits] = match;
  const number = digits === undefined ? defaultPort : Number(digits);
  const host = name.length > 1 ? name.replace(/\.$/, "") : name;
  if (number === undefined || number < 1 || number > 65535 || !isHost(host)) return undefined;
  if (value.startsWith("[") && isIP(host) !== 6) return undefined;
  return { host, port: number };
}

/** Literal 127.0.0.0/8, ::1 and localhost, with or without a port; no other name is resolved. */
export function isLoopback(address: string): boolean {
  const host = isIP(address) === 0 ? splitAddress(address, 1)?.host ?? address : address;
  if (host.toLowerCase() === "localhost") return true;
  if (isIP(host) === 4) return host.startsWith("127.");
  return isIP(host) === 6 && loopback6.test(host);
}

/** ::1, however many zeros are written out. */
const loopback6 = /^(0{0,4}:){1,7}0{0,3}1$/;
