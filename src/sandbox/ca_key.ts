import { sep } from "node:path";
import { Refusal } from "../base/errors.ts";
import type { Grants } from "./grants.ts";

/**
 * Refuses grants that let code which talks to the network read or replace the CA's key, whatever the
 * paths in the configuration are.
 *
 * @param findCaKey path of the key; called only for grants with network access.
 */
export async function guardCaKey(grants: Grants, findCaKey: () => Promise<string>): Promise<void> {
  if (grants.net !== true && grants.net.length === 0) return;
  const caKey = await findCaKey();
  const keys = [caKey, await realPath(caKey)];
  for (const granted of [...grants.read, ...grants.write]) {
    for (const path of [granted, await realPath(granted)]) {
      if (
        !keys.some((key) => key === path || key.startsWith(path.endsWith(sep) ? path : path + sep))
      ) {
        continue;
      }
      throw new Refusal(
        `"${granted}" holds the CA key "${caKey}", and would be readable by code that talks to the network`,
        {
          code: "ca_key_exposed",
          next: "Use a folder that does not contain the CA key, or move the key elsewhere",
        },
      );
    }
  }
}

/** Follows links; a path that does not exist stays as it is. */
async function realPath(path: string): Promise<string> {
  try {
    return await Deno.realPath(path);
  } catch (error) {
    // Nothing can be read or written there, and the attempt reports why.
    const { NotFound, NotADirectory, PermissionDenied } = Deno.errors;
    if ([NotFound, NotADirectory, PermissionDenied].some((kind) => error instanceof kind)) {
      return path;
    }
    throw error;
  }
}
