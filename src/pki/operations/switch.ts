import type { Pki } from "../directory/context.ts";
import { isThere, publicMode, withDirectory } from "../directory/tls_directory.ts";
import { PkiError } from "../errors.ts";

export interface Switched {
  root: string;
  enabled: boolean;
  changed: boolean;
}

/** Switches TLS on for the servers of this host; needs a certificate and its key. */
export async function enable(pki: Pki): Promise<Switched> {
  return await withDirectory(pki, async (directory) => {
    const { settings } = directory;
    for (const path of [settings.serverCert, settings.serverKey]) {
      if (isThere(path)) continue;
      throw new PkiError(
        "no_server_certificate",
        `TLS cannot be switched on: there is no file at "${path}"`,
        { next: "agent tls init, or agent tls install for what another host's CA minted" },
      );
    }
    await directory.save({ settings: { enabled: true } });
    return { root: settings.root, enabled: true, changed: !settings.enabled };
  });
}

/** Switches TLS off, also where it would start by itself; every file stays. */
export async function disable(pki: Pki): Promise<Switched> {
  return await withDirectory(pki, async (directory) => {
    const { settings } = directory;
    if (settings.exists) {
      await directory.save({
        settings: { enabled: false, autoOnNonLoopback: false },
        files: settings.autoOnNonLoopback
          ? [{ path: settings.autoMarker, data: "", mode: publicMode }]
          : [],
      });
    }
    const changed = settings.exists && (settings.enabled || settings.autoOnNonLoopback);
    return { root: settings.root, enabled: false, changed };
  });
}
