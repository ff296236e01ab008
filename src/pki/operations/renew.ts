import { join } from "node:path";
import { Refusal } from "../../base/errors.ts";
import type { FileChange } from "../../base/fs/file_transaction.ts";
import { previousLabel, previousPrefix } from "../directory/bundle.ts";
import { pemOf } from "../x509/pem.ts";
import type { Pki } from "../directory/context.ts";
import { publicMode, type TlsDirectory, withDirectory } from "../directory/tls_directory.ts";
import { PkiError } from "../errors.ts";
import type { Certificate } from "../x509/inspect.ts";
import { caNameOf, makeCa, makeServer } from "./issue.ts";
import { sameKind } from "../x509/keys.ts";
import {
  certifiable,
  flagsOf,
  isEmpty,
  loopbackNames,
  missing,
  type Names,
  parseNames,
  union,
} from "../x509/names.ts";
import { withoutPlaceholder } from "../directory/placeholder.ts";
import type { Issuer } from "../x509/issuer.ts";
import { keptRole } from "../x509/roles.ts";
import { isIssuedBy } from "../x509/chain.ts";

export interface RenewOptions {
  ca?: boolean;
  addHostnames?: string[];
  addIps?: string[];
  distrustPrevious?: boolean;
}

export interface Renewed {
  root: string;
  server: Certificate | undefined;
  ca: Certificate | undefined;
  caRenewed: boolean;
  /** The label under which the former CA stays trusted. */
  previous: string | undefined;
  /** Labels of former CAs that are trusted no longer. */
  distrusted: string[];
}

/** Re-issues the server certificate, with the names it has and those that are added. */
export async function renewServer(pki: Pki, options: RenewOptions): Promise<Renewed> {
  const added = parseNames(options.addHostnames ?? [], options.addIps ?? []);
  return await withDirectory(pki, async (directory) => {
    const { settings } = directory;
    const issuer = issuerFor(directory, added);
    const chain = serverOrNothing(directory);
    if (chain[0] !== undefined && !directory.owns(settings.serverCert)) {
      throw elsewhere(settings.serverCert);
    }
    const names = namesAfter(directory, chain[0], added);
    const type = sameKind(chain[0]?.keyType ?? issuer.certificate.keyType);
    const { made, files } = await makeServer(directory, issuer, names, type, keptRole(chain[0]));
    const dropped = options.distrustPrevious ? previousOf(directory) : [];
    await directory.save({
      files: [...files, ...removals(directory, dropped)],
      settings: { san: certifiable(made).names },
    });
    return {
      root: settings.root,
      server: made,
      ca: issuer.certificate,
      caRenewed: false,
      previous: undefined,
      distrusted: dropped,
    };
  });
}

/**
 * Makes a new CA of the same name with a new key, and this host's certificate by it. The former CA
 * stays trusted here, so that peers which have the new CA are trusted before they have new
 * certificates; a stolen key must not be, hence `distrustPrevious`.
 */
export async function renewCa(pki: Pki, options: RenewOptions): Promise<Renewed> {
  const added = parseNames(options.addHostnames ?? [], options.addIps ?? []);
  return await withDirectory(pki, async (directory) => {
    const { settings } = directory;
    const former = holderCertificates(directory);
    const own = former[0]!;
    const ca = await makeCa(directory, caNameOf(own.commonName, ""), sameKind(own.keyType));
    const chain = serverOrNothing(directory);
    const names = namesAfter(directory, chain[0], added);
    // A certificate outside of the directory is managed by another program.
    const server = chain[0] !== undefined && !directory.owns(settings.serverCert)
      ? { made: chain[0], files: [] }
      : await makeServer(
        directory,
        ca.made,
        names,
        sameKind(chain[0]?.keyType ?? own.keyType),
        keptRole(chain[0]),
      );
    const dropped = options.distrustPrevious ? previousOf(directory) : [];
    const label = options.distrustPrevious ? undefined : previousLabel(own);
    const kept: FileChange[] = label === undefined ? [] : [{
      path: join(settings.trustedDir, `${label}.crt`),
      data: pemOf(former),
      mode: publicMode,
    }];
    await directory.save({
      files: [...ca.files, ...server.files, ...kept, ...removals(directory, dropped)],
      settings: { san: certifiable(server.made).names },
    });
    return {
      root: settings.root,
      server: server.made,
      ca: ca.made.certificate,
      caRenewed: true,
      previous: label,
      distrusted: [
        ...options.distrustPrevious ? [previousLabel(own)] : [],
        ...dropped,
      ],
    };
  });
}

/** Stops trusting former CAs, on any host. */
export async function distrustPrevious(pki: Pki): Promise<Renewed> {
  return await withDirectory(pki, async (directory) => {
    const [server] = serverOrNothing(directory);
    const own = directory.caCertificates();
    const trusted = directory.trusted();
    const dropped = previousOf(directory);
    // A host that went back to its former CA has that one in both places.
    const isOfPrevious = server !== undefined && !own.some((ca) => isIssuedBy(server, ca)) &&
      trusted.some(({ label, certificates }) =>
        dropped.includes(label) && Array.isArray(certificates) &&
        certificates.some((certificate) => isIssuedBy(server, certificate))
      );
    if (isOfPrevious) {
      throw new Refusal(
        "This host's own certificate is of the CA that would be distrusted; it needs a new one first",
        {
          next: directory.kind() === "ca_holder"
            ? "agent tls renew"
            : "agent tls request -o request.csr, then mint it on the CA's host and install it",
        },
      );
    }
    await directory.save({ files: removals(directory, dropped) });
    return {
      root: directory.settings.root,
      server,
      ca: own[0],
      caRenewed: false,
      previous: undefined,
      distrusted: dropped,
    };
  });
}

/** Throws if the CA cannot be renewed, so that the command does not ask for confirmation in vain. */
export async function checkRenewable(pki: Pki): Promise<void> {
  await withDirectory(pki, holderCertificates);
}

/** The CA of this host; the error for a peer says how it gets a new certificate. */
function issuerFor(directory: TlsDirectory, added: Names): Issuer {
  try {
    return directory.issuer();
  } catch (error) {
    if (!(error instanceof PkiError) || error.code !== "no_ca_key") throw error;
    // A request with explicit names contains no others.
    const names = isEmpty(added)
      ? added
      : union(directory.pki.detect(), withoutPlaceholder(directory.san()), added);
    const flags = flagsOf(missing(names, loopbackNames), "--hostname", "--ip");
    const request = `agent tls request -o request.csr ${flags}`;
    throw new PkiError("no_ca_key", error.message, {
      next: `${request.trimEnd()}, then on the host that holds the CA: ` +
        "agent tls mint --csr request.csr -o DIR",
    });
  }
}

/** The CA of this host, even if it has expired or its key is missing. */
function holderCertificates(directory: TlsDirectory): Certificate[] {
  const { settings } = directory;
  const certificates = directory.caCertificates();
  if (certificates.length === 0 || directory.kind() !== "ca_holder") {
    // Says which of the two it is, and where to go.
    directory.issuer();
  }
  for (const path of [settings.caCert, settings.caKey]) {
    if (!directory.owns(path)) throw elsewhere(path);
  }
  return certificates;
}

function serverOrNothing(directory: TlsDirectory): Certificate[] {
  try {
    return directory.serverChain();
  } catch (error) {
    // Renewing replaces a damaged certificate; config.yaml has its names too.
    if (error instanceof PkiError) return [];
    throw error;
  }
}

function namesAfter(
  directory: TlsDirectory,
  server: Certificate | undefined,
  added: Names,
): Names {
  // A name that was removed from config.yaml goes; a lost config.yaml says nothing.
  const san = directory.san();
  const own = isEmpty(san) && server !== undefined ? certifiable(server).names : san;
  return union(own, added, loopbackNames);
}

function previousOf(directory: TlsDirectory): string[] {
  return directory.trusted().map(({ label }) => label)
    .filter((label) => label.startsWith(previousPrefix));
}

function removals({ settings }: TlsDirectory, labels: string[]): FileChange[] {
  return labels.map((label) => ({
    path: join(settings.trustedDir, `${label}.crt`),
    removed: true,
  }));
}

function elsewhere(path: string): Refusal {
  return new Refusal(`"${path}" is outside the TLS directory and managed by another program`, {
    next: "Renew it where it was made",
  });
}
