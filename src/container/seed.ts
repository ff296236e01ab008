/**
 * Copies the TLS state that is part of an image (its seed) into an empty state volume at the first
 * start. A volume that holds TLS state is never changed.
 */
import { join } from "node:path";
import { messageOf, UserError } from "../base/errors.ts";
import { exists, syncFolder } from "../base/fs/atomic_file.ts";
import { whyNoAccess } from "../base/fs/no_access.ts";
import { parseCertificates, readSmallText } from "../pki/x509/inspect.ts";

/** Where `scripts/image-build` puts it; AGENT_SEED names another place. */
export const defaultSeed = "/usr/share/agent/seed";

export type Seeded =
  | { kind: "copied"; from: string; to: string }
  /** The volume already has state; `differs`: of another CA. */
  | { kind: "kept"; differs: boolean }
  | { kind: "no_seed" };

/**
 * @param seed a folder that contains `tls/`.
 * @param configRoot the state volume, as in `/etc/agent`.
 * @throws {UserError} if the volume cannot be written.
 */
export function copySeed(seed: string, configRoot: string): Seeded {
  const from = join(seed, "tls");
  const to = join(configRoot, "tls");
  // Under another name until it is complete: an interrupted start begins again.
  const unfinished = join(configRoot, ".tls.seed");
  if (!holdsState(from)) return { kind: "no_seed" };
  if (holdsState(to)) return { kind: "kept", differs: caOf(from) !== caOf(to) };
  try {
    Deno.mkdirSync(configRoot, { recursive: true, mode: 0o700 });
    removeFolder(unfinished);
    copyFolder(from, unfinished);
    removeFolder(to);
    Deno.renameSync(unfinished, to);
    syncFolder(configRoot);
  } catch (error) {
    throw unwritableVolume(configRoot, error);
  }
  return { kind: "copied", from, to };
}

/** An empty folder, as container engines make it, is not state. */
function holdsState(tls: string): boolean {
  return ["config.yaml", "ca/ca.crt", "server.crt"].some((name) => exists(join(tls, name)));
}

function caOf(tls: string): string | undefined {
  const path = join(tls, "ca", "ca.crt");
  if (!exists(path)) return undefined;
  return parseCertificates(readSmallText(path), path)[0]!.fingerprint;
}

/** Keys are readable by this user only, whatever their modes in the image. */
function copyFolder(from: string, to: string): void {
  Deno.mkdirSync(to, { mode: 0o700 });
  for (const { name, isDirectory, isFile } of Deno.readDirSync(from)) {
    if (isDirectory) copyFolder(join(from, name), join(to, name));
    if (!isFile) continue;
    const mode = name.endsWith(".crt") || name === "config.yaml" ? 0o644 : 0o600;
    const file = Deno.openSync(join(to, name), { write: true, createNew: true, mode });
    try {
      const data = Deno.readFileSync(join(from, name));
      for (let at = 0; at < data.length;) at += file.writeSync(data.subarray(at));
      file.syncSync();
    } finally {
      file.close();
    }
  }
  syncFolder(to);
}

/** Names the owner of the volume and the user of the container: usually they differ. */
export function unwritableVolume(folder: string, cause: unknown): UserError {
  const what = `Cannot write the state folder "${folder}"`;
  const uid = Deno.uid();
  const gid = Deno.gid();
  const why = whyNoAccess(folder, cause, uid);
  switch (why.cause) {
    case "read_only":
      return new UserError(`${what}: it is mounted read-only`, {
        next: "Mount it writable",
        cause,
      });
    case "owner":
      return new UserError(
        `${what}: it belongs to user ${why.owner}, and this container runs as user ${uid}`,
        {
          next:
            `On the host: chown -R ${uid}:${gid} VOLUME; or run the container as ${why.owner} ` +
            `(scripts/image-run: PUID=${why.owner})`,
          cause,
        },
      );
    case "other":
      return new UserError(`${what}: ${messageOf(cause)}`, { next: "Check the volume", cause });
  }
}

function removeFolder(path: string): void {
  if (exists(path)) Deno.removeSync(path, { recursive: true });
}
