/** Everything that the TLS directory is, as found: what is damaged is part of the answer. */
import type { KeyObject } from "node:crypto";
import { dirname } from "node:path";
import { isUnfinished } from "../base/files.ts";
import { bundleOf, type Trusted } from "./bundle.ts";
import type { Pki } from "./context.ts";
import type { Detected } from "./detect.ts";
import { type HostKind, isThere, readTrusted } from "./directory.ts";
import { PkiError } from "./errors.ts";
import { type Certificate, matches, readCertificates, readKey, readSmallText } from "./inspect.ts";
import { readTlsSettings, type TlsSettings } from "./settings.ts";

/** What was found in a place: nothing, what belongs there, or why it could not be read. */
export type Found<T> = undefined | T | PkiError;

/** A file or folder that others on this host could read or change. */
export interface Exposed {
  path: string;
  mode: number;
  wanted: number;
}

export interface TlsState {
  settings: TlsSettings;
  kind: HostKind;
  ca: Found<Certificate[]>;
  /** Whether the CA's key belongs to it; undefined without a key. */
  caKeyFits: Found<boolean>;
  server: Found<Certificate[]>;
  serverKeyFits: Found<boolean>;
  /** A request of this host waits for its answer. */
  isPending: boolean;
  trusted: Trusted[];
  bundleIsStale: boolean;
  exposed: Exposed[];
  detected: Detected;
  /** A command was stopped in the middle of a change. */
  isUnfinished: boolean;
}

export async function loadState(pki: Pki): Promise<TlsState> {
  const settings = await readTlsSettings(pki.root);
  const [ca, server, trusted, detected, unfinished] = await Promise.all([
    found(settings.caCert, readCertificates),
    found(settings.serverCert, readCertificates),
    readTrusted(settings.trustedDir),
    pki.detect(),
    isUnfinished(pki.root),
  ]);
  const [caKeyFits, serverKeyFits, bundleIsStale, isPending] = await Promise.all([
    fits(settings.caKey, ca),
    fits(settings.serverKey, server),
    isStale(settings.caBundle, Array.isArray(ca) ? ca : [], trusted),
    isThere(settings.pendingKey),
  ]);
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
    isPending,
    trusted,
    bundleIsStale,
    exposed: await exposedIn(settings),
    detected,
    isUnfinished: unfinished,
  };
}

async function found<T>(path: string, read: (path: string) => Promise<T>): Promise<Found<T>> {
  try {
    return await read(path);
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    return error.code === "file_not_found" ? undefined : error;
  }
}

async function fits(keyFile: string, of: Found<Certificate[]>): Promise<Found<boolean>> {
  const key: Found<KeyObject> = await found(keyFile, readKey);
  if (key === undefined || key instanceof PkiError) return key;
  return Array.isArray(of) && matches(of[0]!, key);
}

async function isStale(path: string, ca: Certificate[], trusted: Trusted[]): Promise<boolean> {
  const wanted = bundleOf(ca, trusted);
  const text = await found(path, readSmallText);
  return (text ?? "") !== wanted;
}

/** What only its owner should reach; keys elsewhere may be a group's, but never everybody's. */
async function exposedIn(settings: TlsSettings): Promise<Exposed[]> {
  if (Deno.build.os === "windows") return [];
  const { root, caKey, serverKey, pendingKey } = settings;
  const inside = (path: string) => path === root || path.startsWith(`${root}/`);
  const candidates: [string, number][] = [
    [root, 0o700],
    ...inside(caKey) ? [[dirname(caKey), 0o700] as [string, number]] : [],
    [caKey, 0o600],
    [serverKey, 0o600],
    [pendingKey, 0o600],
  ];
  const exposed: Exposed[] = [];
  for (const [path, wanted] of candidates) {
    const mode = await modeOf(path);
    if (mode !== undefined && (mode & (inside(path) ? 0o077 : 0o007)) !== 0) {
      exposed.push({ path, mode, wanted });
    }
  }
  return exposed;
}

async function modeOf(path: string): Promise<number | undefined> {
  try {
    const { mode } = await Deno.stat(path);
    return mode === null ? undefined : mode & 0o777;
  } catch {
    // Whoever reads it tells why it cannot be had.
    return undefined;
  }
}
