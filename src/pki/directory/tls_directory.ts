/** The TLS directory while its lock is held: all changes go through here. */
import { reasonOf } from "../../base/fs/reason.ts";
import type { KeyObject } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { type FileChange, type LockedFolder, lockFolder } from "../../base/fs/file_transaction.ts";
import { setMode } from "../../base/fs/file_permissions.ts";
import { bundleOf, type Trusted } from "./bundle.ts";
import type { Issuer } from "../x509/issuer.ts";
import type { Pki } from "./context.ts";
import { PkiError } from "../errors.ts";
import {
  type Certificate,
  matches,
  parseCertificates,
  readCertificates,
  readKey,
  readSmallText,
} from "../x509/inspect.ts";
import { signingAlgorithm } from "../x509/keys.ts";
import { isWithin } from "../../base/fs/paths.ts";
import { readTlsSettings, type TlsSettings } from "./settings.ts";
import { editSettings, type SettingsUpdate } from "./settings_edit.ts";
import type { Names } from "../x509/names.ts";
import { checkDates, checkIsCa } from "../x509/validate.ts";

/** What a host is: it certifies others, was certified by another, or has nothing yet. */
export type HostKind = "ca_holder" | "peer" | "none";

export const keyMode = 0o600;
export const publicMode = 0o644;
const folderMode = 0o700;

export interface Saving {
  files?: FileChange[];
  settings?: SettingsUpdate;
  /** Leaves modes that are too open, for `tls status` to report. */
  keepModes?: boolean;
}

/** Takes the lock, finishes a change that a crash cut off, does the work and releases the lock. */
export async function withDirectory<T>(
  pki: Pki,
  work: (directory: TlsDirectory) => T | Promise<T>,
): Promise<T> {
  await using folder = await lockFolder(pki.root, pki);
  return await work(new TlsDirectory(pki, folder, await readTlsSettings(pki.root)));
}

export class TlsDirectory {
  constructor(
    readonly pki: Pki,
    readonly folder: LockedFolder,
    readonly settings: TlsSettings,
  ) {}

  kind(): HostKind {
    if (isThere(this.settings.caKey)) return "ca_holder";
    const { caCert, serverCert } = this.settings;
    return isThere(caCert) || isThere(serverCert) ? "peer" : "none";
  }

  /** All certificates of the CA file; empty where there is none. */
  caCertificates(): Certificate[] {
    const { caCert } = this.settings;
    return isThere(caCert) ? readCas(caCert) : [];
  }

  /** The host's certificate and its intermediates; empty where there is none. */
  serverChain(): Certificate[] {
    return certificatesIfThere(this.settings.serverCert);
  }

  keyIfThere(path: string): KeyObject | undefined {
    return isThere(path) ? readKey(path) : undefined;
  }

  /** The CA of this host, ready to sign. */
  issuer(): Issuer {
    const { caCert, caKey } = this.settings;
    const [certificate, ...others] = this.caCertificates();
    const key = this.keyIfThere(caKey);
    if (certificate === undefined) {
      if (key !== undefined) {
        throw new PkiError("no_ca", `There is a CA key, but no CA certificate at "${caCert}"`, {
          next: "Restore ca.crt from a copy of the ca/ folder; every peer has it too",
        });
      }
      throw new PkiError("no_ca", `There is no CA in "${this.settings.root}"`, {
        next: "agent tls init",
      });
    }
    if (key === undefined) {
      throw new PkiError(
        "no_ca_key",
        `This host cannot certify others: the key of "${certificate.subject}" is not at "${caKey}"`,
        {
          next: `Run this on the host that holds the CA "${certificate.commonName}"; ` +
            `the host where agent tls init was run has its key`,
        },
      );
    }
    if (!matches(certificate, key)) {
      throw new PkiError("key_mismatch", `The CA key "${caKey}" does not belong to "${caCert}"`, {
        next: "Restore both from one copy of the ca/ folder",
        file: caKey,
      });
    }
    checkDates(certificate, caCert, this.pki.now(), "agent tls renew --ca");
    signingAlgorithm(key);
    return { certificate, others, key };
  }

  /**
   * Names of the next certificate.
   *
   * @throws {PkiError} `bad_settings` where config.yaml holds names that cannot be certified.
   */
  san(): Names {
    const { san, sanFault } = this.settings;
    if (sanFault !== undefined) throw sanFault;
    return san;
  }

  /** CAs that were imported or that came before, by their label. */
  trusted(): Trusted[] {
    return readTrusted(this.settings.trustedDir);
  }

  /** Makes all changes at once, with the trust bundle and the modes that follow from them. */
  async save({ files = [], settings, keepModes = false }: Saving): Promise<void> {
    const changes = [...files];
    // Switching TLS on, by any command, undoes all of `tls disable`.
    const { autoMarker } = this.settings;
    if (settings?.enabled === true && isThere(autoMarker)) {
      settings = { ...settings, autoOnNonLoopback: true };
      changes.push({ path: autoMarker, removed: true });
    }
    if (settings !== undefined) {
      const path = this.settings.config;
      const old = this.settings.exists ? readSmallText(path) : undefined;
      const data = await editSettings(old, settings, this.settings.root);
      changes.push({ path, data, mode: publicMode });
    }
    changes.push(this.#bundleChange(changes));
    for (const { path } of changes) this.#refuseElsewhere(path);
    if (!keepModes) this.#repairModes();
    this.folder.commit(changes);
  }

  /** Whether a file is inside the directory; files of other programs are only read. */
  owns(path: string): boolean {
    return isWithin(this.settings.root, path);
  }

  #refuseElsewhere(path: string): void {
    // A serial number must be kept wherever the CA is.
    if (this.owns(path) || path === this.settings.caSerial || path === this.settings.caBundle) {
      return;
    }
    throw new PkiError(
      "file_unwritable",
      `"${path}" is outside the TLS directory and managed by another program`,
      {
        next: `Replace it there, or take its line out of "${this.settings.config}"`,
        exit: 3,
        file: path,
      },
    );
  }

  #bundleChange(changes: FileChange[]): FileChange {
    const { caCert, caBundle, trustedDir } = this.settings;
    const changed = new Map(changes.map((change) => [change.path, change]));
    const ca = changed.get(caCert);
    const own = ca === undefined
      ? this.caCertificates()
      : "removed" in ca
      ? []
      : parseCertificates(String(ca.data), caCert);
    const kept = this.trusted()
      .filter(({ label }) => !changed.has(join(trustedDir, `${label}.crt`)));
    const added = changes.flatMap((change) =>
      dirname(change.path) === trustedDir && !("removed" in change)
        ? [{
          label: basename(change.path, ".crt"),
          path: change.path,
          certificates: parseCertificates(String(change.data), change.path),
        }]
        : []
    );
    const bundle = bundleOf(own, [...kept, ...added]);
    return bundle === ""
      ? { path: caBundle, removed: true }
      : { path: caBundle, data: bundle, mode: publicMode };
  }

  #repairModes(): void {
    if (Deno.build.os === "windows") return;
    const { root, caKey, serverKey, pendingKey } = this.settings;
    const wanted: [string, number][] = [
      [root, folderMode],
      [dirname(caKey), folderMode],
      [caKey, keyMode],
      [serverKey, keyMode],
      [pendingKey, keyMode],
    ];
    for (const [path, mode] of wanted) {
      if (!this.owns(path) || !isThere(path)) continue;
      // A link within the directory leads to a file of another program.
      if (path !== root && Deno.lstatSync(path).isSymlink) continue;
      const { mode: found } = Deno.statSync(path);
      if (found !== null && (found & 0o077) !== 0) setMode(Deno.realPathSync(path), mode);
    }
  }
}

export function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return false;
    }
    throw unreadable(path, error);
  }
}

export function readTrusted(folder: string): Trusted[] {
  const found: Trusted[] = [];
  try {
    for (const { name } of Deno.readDirSync(folder)) {
      if (!name.endsWith(".crt") || name.startsWith(".")) continue;
      const path = join(folder, name);
      found.push({ label: basename(name, ".crt"), path, certificates: readOrReason(path) });
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw unreadable(folder, error);
  }
  return found.toSorted((a, b) => a.label < b.label ? -1 : 1);
}

function unreadable(path: string, cause: unknown): PkiError {
  return new PkiError("file_unreadable", `Could not look at "${path}": ${reasonOf(cause)}`, {
    cause,
    file: path,
  });
}

function readOrReason(path: string): Certificate[] | PkiError {
  try {
    return readCas(path);
  } catch (error) {
    // One damaged import must not remove the trust in all others; status names it.
    if (error instanceof PkiError) return error;
    throw error;
  }
}

/**
 * Reads a file of CAs. TLS libraries treat every certificate of a trust bundle as a CA, so the
 * certificate of a host must not get there: its owner could certify others.
 */
export function readCas(path: string): Certificate[] {
  const certificates = readCertificates(path);
  for (const certificate of certificates) checkIsCa(certificate, path);
  return certificates;
}

function certificatesIfThere(path: string): Certificate[] {
  return isThere(path) ? readCertificates(path) : [];
}
