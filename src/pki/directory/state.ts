/** The state of the TLS directory as found; damaged files are part of it. */
import type { KeyObject } from "node:crypto";
import { dirname } from "node:path";
import { UserError } from "../../base/errors.ts";
import { isUnfinished, readJournal } from "../../base/fs/recovery_journal.ts";
import { bundleOf, type Trusted } from "./bundle.ts";
import type { Pki } from "./context.ts";
import type { Detected } from "./detect.ts";
import { type HostKind, isThere, readCas, readTrusted } from "./tls_directory.ts";
import { PkiError } from "../errors.ts";
import {
  type Certificate,
  matches,
  readCertificates,
  readKey,
  readSmallText,
} from "../x509/inspect.ts";
import { isWithin } from "../../base/fs/paths.ts";
import { readTlsSettings, type TlsSettings } from "./settings.ts";

/** What was found in a place: nothing, the expected file, or why it could not be read. */
export type FoundFile<T> = undefined | T | PkiError;

/** A file or folder that others on this host could read or change. */
export interface Exposed {
  path: string;
  mode: number;
  wanted: number;
}

export interface TlsState {
  settings: TlsSettings;
  kind: HostKind;
  ca: FoundFile<Certificate[]>;
  /** Whether the CA's key belongs to it; undefined without a key. */
  caKeyFits: FoundFile<boolean>;
  server: FoundFile<Certificate[]>;
  serverKeyFits: FoundFile<boolean>;
  /** A request of this host waits for its answer. */
  isPending: boolean;
  trusted: Trusted[];
  bundleIsStale: boolean;
  exposed: Exposed[];
  detected: Detected;
  /** A command was stopped in the middle of a change. */
  isUnfinished: boolean;
  /** Why that, or a stale bundle, cannot be fixed. */
  obstacle: UserError | undefined;
}

export async function loadState(pki: Pki): Promise<TlsState> {
  const settings = await readTlsSettings(pki.root);
  const detected = pki.detect();
  const ca = found(settings.caCert, readCas);
  const server = found(settings.serverCert, readCertificates);
  const trusted = readTrusted(settings.trustedDir);
  const caKeyFits = fits(settings.caKey, ca);
  const serverKeyFits = fits(settings.serverKey, server);
  return {
    settings,
    kind: caKeyFits !== undefined
      ? "ca_holder"
      : ca !== undefined || server !== undefined
      ? "peer"
      : "none",
    ca,
    caKeyFits,
    server,
    serverKeyFits,
    isPending: isThere(settings.pendingKey),
    trusted,
    bundleIsStale: !(ca instanceof PkiError) && isStale(settings.caBundle, ca ?? [], trusted),
    exposed: exposedIn(settings),
    detected,
    isUnfinished: isUnfinished(pki.root),
    obstacle: journalError(pki.root),
  };
}

/** Why the change that was cut off cannot be finished, where it is known beforehand. */
export function journalError(root: string): UserError | undefined {
  try {
    readJournal(root);
    return undefined;
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
}

function found<T>(path: string, read: (path: string) => T): FoundFile<T> {
  try {
    return read(path);
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    return error.code === "file_not_found" ? undefined : error;
  }
}

function fits(keyFile: string, of: FoundFile<Certificate[]>): FoundFile<boolean> {
  const key: FoundFile<KeyObject> = found(keyFile, readKey);
  if (key === undefined || key instanceof PkiError) return key;
  return Array.isArray(of) && matches(of[0]!, key);
}

function isStale(path: string, ca: Certificate[], trusted: Trusted[]): boolean {
  const wanted = bundleOf(ca, trusted);
  const text = found(path, readSmallText);
  return (text ?? "") !== wanted;
}

/** Files that only their owner should read; keys elsewhere may be readable by a group. */
function exposedIn(settings: TlsSettings): Exposed[] {
  if (Deno.build.os === "windows") return [];
  const { root, caKey, serverKey, pendingKey } = settings;
  const inside = (path: string) => isWithin(root, path);
  const candidates: [string, number][] = [
    [root, 0o700],
    ...inside(caKey) ? [[dirname(caKey), 0o700] as [string, number]] : [],
    [caKey, 0o600],
    [serverKey, 0o600],
    [pendingKey, 0o600],
  ];
  const exposed: Exposed[] = [];
  for (const [path, wanted] of candidates) {
    const mode = modeOf(path);
    const isOwn = inside(path) && (path === root || !isLink(path));
    if (mode !== undefined && (mode & (isOwn ? 0o077 : 0o007)) !== 0) {
      exposed.push({ path, mode, wanted });
    }
  }
  return exposed;
}

function modeOf(path: string): number | undefined {
  try {
    const { mode } = Deno.statSync(path);
    return mode === null ? undefined : mode & 0o777;
  } catch {
    // Reading it reports the reason.
    return undefined;
  }
}

function isLink(path: string): boolean {
  try {
    return Deno.lstatSync(path).isSymlink;
  } catch {
    // Reading it reports the reason.
    return false;
  }
}
