import { sep } from "node:path";
import { Refusal } from "../base/errors.ts";
import { realPath } from "../base/fs/paths.ts";
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
  const keys = [caKey, realPath(caKey)];
  for (const granted of [...grants.read, ...grants.write]) {
    for (const path of [granted, realPath(granted)]) {
      if (
        !keys.some((key) => key === path || key.startsWith(path.endsWith(sep) ? path : path + sep))
      ) {
        continue;
      }
      throw new Refusal(
        `"${granted}" contains the CA key "${caKey}", which code with network access must not read`,
        {
          code: "ca_key_exposed",
          next: "Use a folder that does not contain the CA key, or move the key elsewhere",
        },
      );
    }
  }
}
