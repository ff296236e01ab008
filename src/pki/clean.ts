import { Refusal } from "../base/errors.ts";
import { lockFolder } from "../base/files.ts";
import type { Pki } from "./context.ts";
import { isThere } from "./directory.ts";
import { tlsPaths } from "./settings.ts";

export interface Cleaned {
  root: string;
  /** False where there was nothing. */
  removed: boolean;
}

/** Removes the TLS directory; what its config.yaml leads to elsewhere stays. */
export async function clean(pki: Pki): Promise<Cleaned> {
  const { root, config, caCert, caKey, serverCert, pendingKey, trustedDir } = tlsPaths(pki.root);
  if (!isThere(root)) return { root, removed: false };
  await using folder = await lockFolder(root, pki);
  if (!isThere(root)) return { root, removed: false };
  if (isEmptyFolder(root)) {
    folder.removeAll();
    return { root, removed: true };
  }
  const own = [config, caCert, caKey, serverCert, pendingKey, trustedDir];
  const found = own.map(isThere);
  if (!found.includes(true)) {
    // AGENT_TLS_DIR may name any folder by mistake.
    throw new Refusal(`"${root}" does not look like a TLS directory, so it is left alone`, {
      next: `Look at it, then remove it with: rm -r ${root}`,
    });
  }
  folder.removeAll();
  return { root, removed: true };
}

function isEmptyFolder(root: string): boolean {
  for (const { name } of Deno.readDirSync(root)) if (!name.startsWith(".")) return false;
  return true;
}
