/**
 * What a role or command may touch, in the terms of Deno's permissions. Lists are exact: single files,
 * and folders only if everything below them belongs to the role.
 */
export interface Grants {
  read: string[];
  write: string[];
  /** `host:port`, with an IP or the name that is dialled. `true` only for a node. */
  net: string[] | true;
  /** Deno's names: hostname, networkInterfaces, uid. */
  sys: string[];
  /** Programs by path or name. */
  run: string[];
  /** Variables by name; a trailing `*` is a prefix. */
  env: string[];
}

/** No grant: the start of every table. */
export const noGrants: Grants = { read: [], write: [], net: [], sys: [], run: [], env: [] };
