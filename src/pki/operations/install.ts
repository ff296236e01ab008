import { join } from "node:path";
import type { KeyObject } from "node:crypto";
import { Refusal } from "../../base/errors.ts";
import type { FileChange } from "../../base/fs/file_transaction.ts";
import { previousLabel } from "../directory/bundle.ts";
import { pemOf } from "../x509/pem.ts";
import type { Pki } from "../directory/context.ts";
import {
  keyMode,
  publicMode,
  type TlsDirectory,
  withDirectory,
} from "../directory/tls_directory.ts";
import { PkiError } from "../errors.ts";
import {
  type Certificate,
  keyMismatch,
  matches,
  parseCertificates,
  pkcs8Pem,
  readCertificates,
  readKey,
} from "../x509/inspect.ts";
import { certifiable } from "../x509/names.ts";
import { setCaAside } from "./issue.ts";

import { chainOf, isSelfIssued } from "../x509/chain.ts";
import {
  checkCa,
  checkDates,
  checkIsCa,
  checkLeaf,
  isInForce,
  maySignIn,
} from "../x509/validate.ts";

export interface InstallOptions {
  cert?: string | undefined;
  key?: string | undefined;
  ca?: string | undefined;
  /** What is in `ca`, where it was read before. */
  caText?: string | undefined;
  force?: boolean;
}

export interface Installed {
  root: string;
  /** Undefined where only the CA changed. */
  server: Certificate | undefined;
  /** Undefined where the host trusts no CA of its own yet. */
  ca: Certificate | undefined;
  caChanged: boolean;
  /** The label under which the former CA stays trusted. */
  previous: string | undefined;
  /** The new place of the key of a CA that this host held before. */
  formerCaKey: string | undefined;
  usedPendingKey: boolean;
  /** The certificate is for serving only. */
  cannotSignIn: boolean;
  /** Names of the certificate that agent issues no certificate for, so that a renewal drops them. */
  namesNotKept: string[];
}

/** The directory, and the proof that a pair works. */
export interface InstallPki extends Pki {
  /** Throws unless TLS can use the pair, and with it leads to the CAs (`provePair`). */
  prove: (certPem: string, keyPem: string, caPem: string | undefined) => Promise<void>;
}

/** Installs what a CA elsewhere issued for this host; changes nothing unless everything is right. */
export async function install(pki: InstallPki, options: InstallOptions): Promise<Installed> {
  const now = pki.now();
  const caFile = options.ca === undefined ? [] : readCas(options.ca, now, options.caText);
  return await withDirectory(pki, async (directory) => {
    const roots = caFile.filter(isSelfIssued);
    return options.cert === undefined
      ? await installCa(directory, roots, options)
      : await installPair(pki, directory, caFile, roots, { ...options, cert: options.cert });
  });
}

/** Replaces the trusted CA; the former stays trusted until hosts have new certificates. */
async function installCa(
  directory: TlsDirectory,
  roots: Certificate[],
  { force = false }: InstallOptions,
): Promise<Installed> {
  const { settings } = directory;
  const former = formerOf(directory, roots);
  const isSame = holdsSame(former, roots) || restores(directory, former, roots);
  if (!isSame && directory.kind() === "ca_holder" && !force) refuseCaHolder(former);
  const aside = isSame || !force ? { made: undefined, files: [] } : setCaAside(directory);
  const label = former[0] && previousLabel(former[0]);
  const files: FileChange[] = holdsSame(former, roots) ? [] : [
    ...aside.files,
    ...removalOf(directory, aside.made),
    { path: settings.caCert, data: pemOf(roots), mode: publicMode },
    ...label === undefined ? [] : [{
      path: join(settings.trustedDir, `${label}.crt`),
      data: pemOf(former),
      mode: publicMode,
    }],
  ];
  await directory.save({ files, ...settings.exists ? {} : { settings: { enabled: false } } });
  return {
    root: settings.root,
    server: undefined,
    ca: roots[0],
    caChanged: files.length > 0,
    previous: isSame ? undefined : label,
    formerCaKey: aside.made,
    usedPendingKey: false,
    cannotSignIn: false,
    namesNotKept: [],
  };
}

async function installPair(
  { prove }: InstallPki,
  directory: TlsDirectory,
  caFile: Certificate[],
  roots: Certificate[],
  options: InstallOptions & { cert: string },
): Promise<Installed> {
  const { settings, pki } = directory;
  const { cert, force = false } = options;
  const kind = directory.kind();
  const former = formerOf(directory, roots);
  const { chain: certFile, key } = pairOf(directory, options);
  const leaf = certFile[0]!;
  checkLeaf(leaf, cert, pki.now());

  const anchors = roots.length > 0 ? roots : former;
  const chain = anchors.length === 0
    ? certFile
    : chainOf(leaf, [...certFile, ...caFile, ...former], anchors, cert, { now: pki.now() });
  if (anchors.length === 0) certFile.slice(1).forEach((ca) => checkCa(ca, cert, pki.now()));

  const isSame = roots.length === 0 || holdsSame(former, roots);
  const keepsCa = isSame || restores(directory, former, roots);
  if (!keepsCa && kind === "ca_holder" && !force) refuseCaHolder(former);
  if (!isSame && former.length > 0 && !force) {
    throw new Refusal(
      `This host trusts "${former[0]!.subject}", and the certificate is of another CA, "${
        roots[0]!.subject
      }"`,
      {
        next: "To change over to that CA: agent tls install --force with the same files; " +
          "to trust it as well: agent tls import-ca",
      },
    );
  }
  const { names, refused } = certifiable(leaf);
  const aside = keepsCa ? { made: undefined, files: [] } : setCaAside(directory);
  const between = chain.slice(1).filter((certificate) => !isSelfIssued(certificate));
  const certPem = pemOf([leaf, ...between]);
  const keyPem = pkcs8Pem(key);
  await prove(certPem, keyPem, anchors.length === 0 ? undefined : pemOf(anchors));
  await directory.save({
    files: [
      ...aside.files,
      ...removalOf(directory, aside.made),
      { path: settings.serverCert, data: certPem, mode: publicMode },
      { path: settings.serverKey, data: keyPem, mode: keyMode },
      ...isSame ? [] : [{ path: settings.caCert, data: pemOf(roots), mode: publicMode }],
      { path: settings.pendingKey, removed: true as const },
    ],
    settings: { enabled: true, san: names },
  });
  return {
    root: settings.root,
    server: leaf,
    ca: roots[0] ?? former[0],
    caChanged: !isSame,
    previous: undefined,
    formerCaKey: aside.made,
    usedPendingKey: options.key === undefined,
    cannotSignIn: !chain.every(maySignIn),
    namesNotKept: refused.map(({ name }) => name),
  };
}

/** The certificate with the key that was given, or else with the one that its request left here. */
function pairOf(
  { settings }: TlsDirectory,
  { cert, key }: InstallOptions & { cert: string },
): { chain: Certificate[]; key: KeyObject } {
  if (key !== undefined) {
    const own = readKey(key);
    const chain = startingWith(own, readCertificates(cert));
    if (chain !== undefined) return { chain, key: own };
    throw keyMismatch(cert, key);
  }
  const found = readCertificates(cert);
  for (const path of [settings.pendingKey, settings.serverKey]) {
    const own = keyOrNothing(path);
    const chain = own && startingWith(own, found);
    if (chain !== undefined) return { chain, key: own! };
  }
  throw new PkiError("no_key", `No key on this host belongs to the certificate "${cert}"`, {
    next: "Give the key with --key, or ask for a certificate with: agent tls request -o FILE",
    file: cert,
  });
}

/** Some CAs hand out their files root first; the key tells which certificate is the host's. */
function startingWith(key: KeyObject, all: Certificate[]): Certificate[] | undefined {
  const own = all.find((certificate) => matches(certificate, key));
  return own && [own, ...all.filter((certificate) => certificate !== own)];
}

function keyOrNothing(path: string): KeyObject | undefined {
  try {
    return readKey(path);
  } catch (error) {
    if (error instanceof PkiError && error.code === "file_not_found") return undefined;
    throw error;
  }
}

/**
 * Reads a file of CAs: every certificate in it must be one, and one of them a root, which is what is
 * trusted. Expired ones beside their successors are left out.
 */
function readCas(file: string, now: number, text?: string): Certificate[] {
  const all = text === undefined ? readCertificates(file) : parseCertificates(text, file);
  all.forEach((certificate) => checkIsCa(certificate, file));
  const roots = all.filter(isSelfIssued);
  if (roots.length === 0) {
    throw new PkiError("bad_chain", `"${file}" holds only "${all[0]!.subject}", no root`, {
      next: `Add the certificate of "${all.at(-1)!.issuer}" to the file`,
      file,
    });
  }
  const inForce = all.filter((certificate) => isInForce(certificate, now));
  if (!inForce.some(isSelfIssued)) checkDates(roots[0]!, file, now);
  inForce.forEach((certificate) => checkCa(certificate, file, now));
  return inForce;
}

function refuseCaHolder(former: Certificate[]): never {
  const name = former[0]?.subject ?? "a CA";
  throw new Refusal(
    `This host holds the key of "${name}"; with another CA it could no longer issue certificates`,
    {
      next: "To trust the other CA as well: agent tls import-ca. " +
        "To give this one up: the same command with --force",
    },
  );
}

/** The CAs trusted so far; a damaged file of them does not prevent its replacement. */
function formerOf(directory: TlsDirectory, roots: Certificate[]): Certificate[] {
  try {
    return directory.caCertificates();
  } catch (error) {
    if (error instanceof PkiError && roots.length > 0) return [];
    throw error;
  }
}

/** Whether the CA that this host has the key of gets its certificate back. */
function restores(directory: TlsDirectory, former: Certificate[], roots: Certificate[]): boolean {
  const key = former.length === 0 ? directory.keyIfThere(directory.settings.caKey) : undefined;
  return key !== undefined && roots.some((root) => matches(root, key));
}

/** Removes a CA key that was set aside from its old place, where it would not fit the new CA. */
function removalOf({ settings }: TlsDirectory, aside: string | undefined): FileChange[] {
  return aside === undefined ? [] : [
    { path: settings.caKey, removed: true },
    { path: settings.caSerial, removed: true },
  ];
}

function holdsSame(a: Certificate[], b: Certificate[]): boolean {
  const roots = (all: Certificate[]) =>
    all.filter(isSelfIssued).map(({ fingerprint }) => fingerprint).toSorted().join();
  return a.length > 0 && roots(a) === roots(b);
}
