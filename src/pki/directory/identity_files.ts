import { dirname, join } from "node:path";
import { tlsRoot } from "./settings.ts";

/** What a node is known by, beside the TLS directory. */
export interface IdentityFiles {
  /** The bearer token of its users, 0600. */
  token: string;
  nodeId: string;
}

export function identityFiles(
  env: { configRoot: string; variable: (name: string) => string | undefined },
): IdentityFiles {
  const folder = dirname(tlsRoot(env));
  return { token: join(folder, "token"), nodeId: join(folder, "node-id") };
}
