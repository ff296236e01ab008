/**
 * What a role or command may touch, in the terms of Deno's permissions. Lists are exact: files one
 * by one, folders only where everything below them belongs to the role.
 */
export interface Grants {
  read: string[];
  write: string[];
  /** `host:port`, where host is an IP or the name as it is dialled. `true` only for a node. */
  net: string[] | true;
  /** Deno's names: hostname, networkInterfaces, uid. */
  sys: string[];
  /** Programs by path or name. */
  run: string[];
  /** Variables by name; a trailing `*` is a prefix. */
  env: string[];
}

/** Nothing at all: where every table of grants starts. */
export const noGrants: Grants = { read: [], write: [], net: [], sys: [], run: [], env: [] };
