import { join, relative } from "node:path";
import { Refusal } from "../../base/errors.ts";
import { lockFolder } from "../../base/fs/file_transaction.ts";
import type { Pki } from "../directory/context.ts";
import { isThere } from "../directory/tls_directory.ts";
import { PkiError } from "../errors.ts";
import { readTlsSettings, type TlsPaths, tlsPaths } from "../directory/settings.ts";
import { shellQuoted } from "../../base/shell_quoted.ts";

export interface Cleaned {
  root: string;
  /** False where there was nothing. */
  removed: boolean;
}

/** Removes the TLS directory; files elsewhere that its config.yaml names stay. */
export async function clean(pki: Pki): Promise<Cleaned> {
  const { root } = pki;
  if (!isThere(root)) return { root, removed: false };
  await using folder = await lockFolder(root, pki);
  if (!isThere(root)) return { root, removed: false };
  const other = await otherFile(root);
  if (other !== undefined) {
    // AGENT_TLS_DIR may name any folder by mistake: a database has its server.crt beside its data.
    throw new Refusal(`"${root}" holds a file that is no part of a TLS directory: "${other}"`, {
      next: `Look at it and move it away, or remove all of it with: rm -r ${shellQuoted(root)}`,
    });
  }
  folder.removeAll();
  return { root, removed: true };
}

/** Something in the folder that no `tls` command has put there. */
async function otherFile(root: string): Promise<string | undefined> {
  const known = new Set<string>();
  for (const paths of [tlsPaths(root), await settingsIn(root)]) {
    for (const path of Object.values(paths ?? {})) {
      if (typeof path === "string") known.add(relative(root, path).split(/[/\\]/)[0]!);
    }
  }
  for (const { name } of Deno.readDirSync(root)) {
    if (!known.has(name) && !/^\.(lock|journal|.+\.new)$/.test(name)) return join(root, name);
  }
  return undefined;
}

async function settingsIn(root: string): Promise<TlsPaths | undefined> {
  try {
    return await readTlsSettings(root);
  } catch (error) {
    // A file that cannot be read names no other files.
    if (error instanceof PkiError) return undefined;
    throw error;
  }
}
