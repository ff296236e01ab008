import type { Names } from "../x509/names.ts";

/** The name in certificates without names: their hosts are trusted by the chain alone. */
export const placeholderName = "agent-peer";

/** For a host that gets names of its own. */
export function withoutPlaceholder({ hostnames, ips }: Names): Names {
  return { hostnames: hostnames.filter((name) => name !== placeholderName), ips };
}
