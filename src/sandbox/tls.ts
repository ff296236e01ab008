import { dirname, resolve } from "node:path";
import type { Env } from "../base/env.ts";
import { makeFolder, stagedName } from "../base/fs/atomic_file.ts";
import { PkiError } from "../pki/errors.ts";
import { isWithin, realPath } from "../base/fs/paths.ts";
import { readTlsSettings, type TlsPaths, tlsPaths, tlsRoot } from "../pki/directory/settings.ts";
import { type Grants, noGrants } from "./grants.ts";

/** Files named on the command line; relative paths start at the working folder. */
export interface NamedFiles {
  /** Files to read. */
  read?: (string | undefined)[];
  /** Files to write, each replaced as a whole. */
  write?: (string | undefined)[];
  /** Folders to write files into. */
  folders?: (string | undefined)[];
}

/**
 * Grants of the `tls` commands: the TLS directory, the files that its config.yaml names, those on the
 * command line, and where a host's name is written; neither net nor processes.
 */
export async function tlsGrants(
  env: Pick<Env, "configRoot" | "variable">,
  named: NamedFiles = {},
): Promise<Grants> {
  const root = tlsRoot(env);
  const known = pathsIn(await pathsOf(root));
  const written = [...absolute(named.write), ...known.filter((path) => !isWithin(root, path))]
    .flatMap((path) => [path, stagedName(path)]);
  const folders = [root, ...absolute(named.folders)];
  const read = [...known, ...absolute(named.read), "/etc/hosts", "/etc/resolv.conf"];
  // Access is checked where a path really leads, so links are followed here.
  const withReal = (paths: string[]) => [...new Set([...paths, ...paths.map(realPath)])];
  return {
    ...noGrants,
    read: withReal([...folders, ...written, ...read]),
    write: withReal([...folders, ...written]),
    sys: ["hostname", "networkInterfaces", "uid"],
  };
}

/**
 * Makes the folder around the TLS directory, which a thread that is granted the directory alone
 * could not; for commands that create one.
 */
export function makeConfigFolder(env: Pick<Env, "configRoot" | "variable">): void {
  makeFolder(dirname(tlsRoot(env)));
}

/** The command itself reports a config.yaml that cannot be read; it names no other files. */
async function pathsOf(root: string): Promise<TlsPaths> {
  try {
    return await readTlsSettings(root);
  } catch (error) {
    if (error instanceof PkiError) return tlsPaths(root);
    throw error;
  }
}

function pathsIn(paths: TlsPaths): string[] {
  const { caCert, caKey, caSerial, serverCert, serverKey, pendingKey, caBundle, trustedDir } =
    paths;
  return [caCert, caKey, caSerial, serverCert, serverKey, pendingKey, caBundle, trustedDir];
}

function absolute(paths: (string | undefined)[] = []): string[] {
  return paths.filter((path) => path !== undefined).map((path) => resolve(path));
}
