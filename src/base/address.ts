import { isIP } from "node:net";
import { UsageError } from "./errors.ts";

/** Splits `host:port` and `[v6]:port`. */
export function splitHost(address: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  if (match === null || !(port > 0 && port < 65536)) {
    throw new UsageError(`"${address}" is not an address "host:port"`);
  }
  return { host: match[1] ?? match[2]!, port };
}

/** The inverse: IPv6 in brackets. */
export function joinHost(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}
