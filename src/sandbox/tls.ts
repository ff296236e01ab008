import { dirname, isAbsolute, relative, resolve } from "node:path";
import type { Env } from "../base/env.ts";
import { stagedName } from "../base/files.ts";
import { PkiError } from "../pki/errors.ts";
import { readTlsSettings, type TlsPaths, tlsPaths, tlsRoot } from "../pki/settings.ts";
import { type Grants, noGrants } from "./grants.ts";

/** What was named on the command line; relative paths are taken from the working folder. */
export interface NamedFiles {
  /** Files to read. */
  read?: (string | undefined)[];
  /** Files to write, each replaced as a whole. */
  write?: (string | undefined)[];
  /** Folders to write files into. */
  folders?: (string | undefined)[];
}

/**
 * Grants of the `tls` commands: the TLS directory, the files that its config.yaml leads to, what was
 * named, and where a host's name is written; neither net nor processes.
 */
export async function tlsGrants(
  env: Pick<Env, "configRoot" | "variable">,
  named: NamedFiles = {},
): Promise<Grants> {
  const root = tlsRoot(env);
  const elsewhere = pathsElsewhere(await pathsOf(root));
  const written = [...absolute(named.write), ...elsewhere]
    .flatMap((path) => [path, stagedName(path)]);
  const folders = [root, ...absolute(named.folders)];
  return {
    ...noGrants,
    read: [...folders, ...written, ...absolute(named.read), "/etc/hosts", "/etc/resolv.conf"],
    write: [...folders, ...written],
    sys: ["hostname", "networkInterfaces", "uid"],
  };
}

/**
 * Makes the folder around the TLS directory, which a thread that is granted the directory alone
 * could not; for commands that create one.
 */
export async function makeConfigFolder(env: Pick<Env, "configRoot" | "variable">): Promise<void> {
  await Deno.mkdir(dirname(tlsRoot(env)), { recursive: true, mode: 0o700 });
}

/** A config.yaml that cannot be read is the command's to tell; it leads nowhere else. */
async function pathsOf(root: string): Promise<TlsPaths> {
  try {
    return await readTlsSettings(root);
  } catch (error) {
    if (error instanceof PkiError) return tlsPaths(root);
    throw error;
  }
}

function pathsElsewhere(paths: TlsPaths): string[] {
  const { root, caCert, caKey, caSerial, serverCert, serverKey, pendingKey, caBundle, trustedDir } =
    paths;
  return [caCert, caKey, caSerial, serverCert, serverKey, pendingKey, caBundle, trustedDir]
    .filter((path) => {
      const way = relative(root, path);
      return way.startsWith("..") || isAbsolute(way);
    });
}

function absolute(paths: (string | undefined)[] = []): string[] {
  return paths.filter((path) => path !== undefined).map((path) => resolve(path));
}
