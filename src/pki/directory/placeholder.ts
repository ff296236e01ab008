import type { Names } from "../x509/names.ts";

/** What a certificate is called whose host has no name worth checking: trust goes by its chain. */
export const placeholderName = "agent-peer";

/** For a host that is to have names of its own. */
export function withoutPlaceholder({ hostnames, ips }: Names): Names {
  return { hostnames: hostnames.filter((name) => name !== placeholderName), ips };
}
