import { Refusal } from "../../base/errors.ts";
import type { Pki } from "../directory/context.ts";
import { day } from "../x509/dates.ts";
import { isThere, type TlsDirectory, withDirectory } from "../directory/tls_directory.ts";
import { PkiError } from "../errors.ts";
import { type Certificate, matches } from "../x509/inspect.ts";
import { caNameOf, makeCa, makeServer, setCaAside } from "./issue.ts";
import { defaultKeyType, type KeyType } from "../x509/key_types.ts";
import { sameKind } from "../x509/keys.ts";
import {
  certifiable,
  isEmpty,
  listNames,
  loopbackNames,
  missing,
  type Names,
  parseNames,
  union,
} from "../x509/names.ts";
import { withoutPlaceholder } from "../directory/placeholder.ts";
import { renewalDue } from "../x509/renewal.ts";
import { keptRole } from "../x509/roles.ts";
import { isIssuedBy } from "../x509/chain.ts";

export interface InitOptions {
  hostnames?: string[];
  ips?: string[];
  caName?: string | undefined;
  keyType?: KeyType | undefined;
  force?: boolean;
}

export interface Initialised {
  root: string;
  ca: Certificate;
  caMade: boolean;
  server: Certificate;
  serverMade: boolean;
  /** Why there is a new server certificate although there was one. */
  reason: string | undefined;
  /** Detected names that did not fit. */
  leftOut: string[];
  /** The new place of the key of the CA that `force` replaced. */
  formerCaKey: string | undefined;
}

/**
 * Gives this host a CA, unless it has one, and a server certificate for its names, unless it has one
 * that covers them; then switches TLS on. With `force` both are replaced.
 */
export async function initTls(pki: Pki, options: InitOptions = {}): Promise<Initialised> {
  const given = parseNames(options.hostnames ?? [], options.ips ?? []);
  if (options.caName !== undefined) caNameOf(options.caName, "");
  const detected = pki.detect();
  return await withDirectory(pki, async (directory) => {
    const { settings } = directory;
    const kind = directory.kind();
    const force = options.force === true;
    if (kind === "peer" && !force) refusePeer(directory);

    const former = force ? setCaAside(directory) : { made: undefined, files: [] };
    const ca = kind === "ca_holder" && !force
      ? { made: directory.issuer(), files: [] }
      : await makeCa(
        directory,
        caNameOf(options.caName, detected.hostname),
        options.keyType ?? defaultKeyType,
      );

    const names = union(detected, given, withoutPlaceholder(directory.san()), loopbackNames);
    const current = force ? [] : directory.serverChain();
    const reason = current[0] &&
      reasonToReplace(directory, current[0], ca.made.certificate, union(detected, given));
    const kept = reason === undefined ? current[0] : undefined;
    const server = kept !== undefined ? { made: kept, files: [] } : await makeServer(
      directory,
      ca.made,
      names,
      options.keyType ?? sameKind(ca.made.certificate.keyType),
      keptRole(current[0]),
    );

    const san = certifiable(server.made).names;
    await directory.save({
      files: [...former.files, ...ca.files, ...server.files],
      settings: { enabled: true, san },
    });
    return {
      root: settings.root,
      ca: ca.made.certificate,
      caMade: ca.files.length > 0,
      server: server.made,
      serverMade: kept === undefined,
      reason,
      leftOut: detected.leftOut,
      formerCaKey: former.made,
    };
  });
}

/** A second CA is the most common way to break a cluster. */
function refusePeer(directory: TlsDirectory): never {
  const [ca] = directory.caCertificates();
  const whose = ca === undefined
    ? "has a certificate from elsewhere"
    : `is a peer of "${ca.subject}"`;
  throw new Refusal(
    `This host ${whose}; a CA of its own would cut it off from every other host`,
    {
      next: "For a new certificate: agent tls request, or agent tls mint on the CA's host. " +
        "To leave that CA for good: agent tls init --force",
    },
  );
}

function reasonToReplace(
  directory: TlsDirectory,
  server: Certificate,
  ca: Certificate,
  wanted: Names,
): string | undefined {
  const { settings, pki } = directory;
  if (!isIssuedBy(server, ca)) {
    // A certificate outside of the directory is managed by another program.
    return directory.owns(settings.serverCert) ? "it was issued by another CA" : undefined;
  }
  if (!isThere(settings.serverKey)) return "its key was missing";
  if (!hasItsKey(directory, server)) return "its key did not belong to it";
  if (renewalDue({ ...server, now: pki.now() })) {
    return `it was valid only until ${day(server.notAfter)}`;
  }
  const gaps = missing(union(wanted, withoutPlaceholder(directory.san())), server);
  return isEmpty(gaps) ? undefined : `it did not cover ${listNames(gaps)}`;
}

function hasItsKey(directory: TlsDirectory, server: Certificate): boolean {
  try {
    const key = directory.keyIfThere(directory.settings.serverKey);
    return key !== undefined && matches(server, key);
  } catch (error) {
    // A damaged key is replaced together with its certificate.
    if (error instanceof PkiError) return false;
    throw error;
  }
}
