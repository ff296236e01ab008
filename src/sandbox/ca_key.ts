import { sep } from "node:path";
import { Refusal } from "../base/errors.ts";
import type { Grants } from "./grants.ts";

/**
 * Refuses grants by which code that talks to the network could read the CA's key: nothing that can
 * dial or listen may read or replace it, whatever the paths in the configuration say.
 *
 * @param findCaKey where the key is or would be; asked only where it matters.
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
        `"${granted}" would be open to the network, but it holds the CA key "${caKey}"`,
        {
          code: "ca_key_exposed",
          next: "Use a folder that does not contain the CA key, or move the key elsewhere",
        },
      );
    }
  }
}

/** With links followed; what does not exist is where it is written. */
async function realPath(path: string): Promise<string> {
  try {
    return await Deno.realPath(path);
  } catch (error) {
    // Below what is no folder nothing can be written, and whoever tries says so.
    const { NotFound, NotADirectory, PermissionDenied } = Deno.errors;
    if ([NotFound, NotADirectory, PermissionDenied].some((kind) => error instanceof kind)) {
      return path;
    }
    throw error;
  }
}
