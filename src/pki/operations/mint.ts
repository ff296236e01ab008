import { setMode } from "../../base/fs/file_permissions.ts";
import { basename, join } from "node:path";
import { Refusal } from "../../base/errors.ts";
import { makeFolder, type NewFile, removeIfEmpty, writeFiles } from "../../base/fs/atomic_file.ts";
import { realPath } from "../../base/fs/paths.ts";
import { previousPrefix } from "../directory/bundle.ts";
import { pemOf } from "../x509/pem.ts";
import type { Pki } from "../directory/context.ts";
import { namesText } from "../x509/describe.ts";
import { maxDetected } from "../directory/detect.ts";
import {
  isThere,
  keyMode,
  publicMode,
  type TlsDirectory,
  withDirectory,
} from "../directory/tls_directory.ts";
import { PkiError } from "../errors.ts";
import {
  type Certificate,
  parseCertificates,
  pkcs8Pem,
  readPemText,
  readSmallText,
} from "../x509/inspect.ts";
import { intermediatesOf, leafDays, serialChange } from "./issue.ts";
import { generateKey, publicKeyOf, sameKind } from "../x509/keys.ts";
import { flagsOf, isEmpty, loopbackNames, missing, type Names, parseNames } from "../x509/names.ts";
import { placeholderName } from "../directory/placeholder.ts";
import { isWithin } from "../../base/fs/paths.ts";
import type { CertificateRole } from "../x509/roles.ts";
import { isIssuedBy } from "../x509/chain.ts";

export interface MintOptions {
  /** An absolute path. */
  out: string;
  hostnames?: string[];
  ips?: string[];
  /** A certificate request to answer: its key stays where it is. */
  csr?: string | undefined;
  /** Limits what the owner may do; by default to what a request asks for, else to nothing. */
  role?: CertificateRole | undefined;
  /** Asks whether the names of the request may be certified. */
  confirm?: (names: Names) => Promise<boolean>;
}

export interface Minted {
  out: string;
  files: string[];
  certificate: Certificate;
  ca: Certificate;
  /** Names of the request that were not certified. */
  notCertified: Names;
}

/** Certifies another host: its own key, or one that is made for it here. */
export async function mint(pki: Pki, options: MintOptions): Promise<Minted> {
  const given = parseNames(options.hostnames ?? [], options.ips ?? []);
  refuseInside(pki.root, options.out);
  const request = options.csr === undefined ? undefined : await requestFrom(options.csr);
  const names = request === undefined
    ? (isEmpty(given) ? { hostnames: [placeholderName], ips: [] } : given)
    : await confirmedNames(request.names, given, options);
  const loading = import("../x509/certify.ts");
  return await withDirectory(pki, async (directory) => {
    const { settings } = directory;
    const issuer = directory.issuer();
    const caFile = [issuer.certificate, ...issuer.others];
    checkFolder(options, [issuer.certificate, ...formerCas(directory)]);
    const key = request === undefined
      ? await generateKey(sameKind(issuer.certificate.keyType))
      : undefined;
    const { certify } = await loading;
    const certificate = await certify({
      issuer,
      publicKey: key === undefined ? request!.publicKey : publicKeyOf(key),
      names,
      days: leafDays(settings.validityDays, settings.config),
      // A request for a limit needs no consent; a request for its absence is not possible.
      role: options.role ?? request?.role,
      now: pki.now(),
    });
    const at = (name: string) => join(options.out, name);
    const files: NewFile[] = [
      {
        path: at("server.crt"),
        data: pemOf([certificate, ...intermediatesOf(caFile)]),
        mode: publicMode,
      },
      ...key === undefined ? [] : [{ path: at("server.key"), data: pkcs8Pem(key), mode: keyMode }],
      { path: at("ca.crt"), data: pemOf(caFile), mode: publicMode },
    ];
    const created = prepareFolder(options.out);
    try {
      await directory.save({ files: [serialChange(settings.caSerial, certificate)] });
      // Without a journal: the folder is named by the user and is no state of ours.
      writeFiles(files, pki);
    } catch (error) {
      created.reverse().forEach(removeIfEmpty);
      throw error;
    }
    return {
      out: options.out,
      files: files.map(({ path }) => path),
      certificate,
      ca: issuer.certificate,
      notCertified: request === undefined
        ? { hostnames: [], ips: [] }
        : missing(request.names, certificate),
    };
  });
}

/** Output never lands among the files of the TLS directory, nor in the place of any key. */
export function refuseInside(root: string, path: string): void {
  const refuse = (what: string) =>
    new Refusal(`"${path}" ${what}`, { next: "Choose another place with -o" });
  if (isWithin(root, path) || isWithin(realPath(root), realPath(path))) {
    throw refuse(`is within the TLS directory "${root}"`);
  }
  if (holdsKey(path)) throw refuse("holds a private key, which would be lost");
}

function holdsKey(file: string): boolean {
  try {
    return readSmallText(file).includes("PRIVATE KEY-----");
  } catch (error) {
    // A folder, or nothing yet; writing there reports any other problem.
    if (error instanceof PkiError) return false;
    throw error;
  }
}

async function requestFrom(file: string) {
  const { readRequest } = await import("../x509/csr.ts");
  return await readRequest(readPemText(file), file);
}

/** Names in a request are only a claim; the holder of the CA decides which are certified. */
async function confirmedNames(
  asked: Names,
  given: Names,
  { csr, confirm }: MintOptions,
): Promise<Names> {
  if (!isEmpty(given)) return given;
  const beyond = missing(asked, loopbackNames);
  if (isEmpty(beyond)) return { hostnames: [placeholderName], ips: [] };
  if (await confirm?.(beyond)) return asked;
  // A request can come from anyone, and ask for thousands of names.
  const add = beyond.hostnames.length + beyond.ips.length > maxDetected
    ? "--hostname NAME or --ip ADDRESS for each"
    : flagsOf(beyond, "--hostname", "--ip");
  throw new Refusal(`"${csr}" asks for ${namesText(beyond)}, which is not confirmed`, {
    next: `Check that they are that host's, then add: ${add}`,
  });
}

/** Accepts a folder that is new, empty, or holds the output of an earlier mint of this CA. */
function checkFolder({ out, csr }: MintOptions, cas: Certificate[]): void {
  if (!isThere(out)) return;
  const refuse = (what: string) =>
    new Refusal(`"${out}" ${what}`, { next: "Choose a new folder with -o" });
  const own = ["server.crt", "server.key", "ca.crt"];
  const names: string[] = [];
  try {
    for (const { name } of Deno.readDirSync(out)) names.push(name);
  } catch (error) {
    if (error instanceof Deno.errors.NotADirectory) throw refuse("is not a folder");
    throw error;
  }
  const others = names.filter((name) =>
    !own.includes(name) && !name.startsWith(".") && name !== basename(csr ?? "")
  );
  if (others.length > 0) throw refuse(`holds other files, such as "${others[0]}"`);
  if (!names.includes("server.crt") && !names.includes("server.key")) return;
  if (!isEarlierMint(join(out, "server.crt"), cas)) {
    throw refuse("holds a certificate or key that this CA did not make");
  }
}

/**
 * Makes the folder, or takes the one that is there, with mode 0700.
 *
 * @returns the folders that were absent, outermost first.
 */
function prepareFolder(out: string): string[] {
  const created = makeFolder(out);
  if (!isThere(out)) {
    throw new Refusal(`"${out}" is a link that leads nowhere`, {
      next: "Choose a new folder with -o",
    });
  }
  if (Deno.build.os !== "windows") {
    refuseOthers(out);
    setMode(Deno.realPathSync(out), 0o700);
  }
  return created;
}

/** In a folder that another user put there, in /tmp for example, the key would be theirs. */
function refuseOthers(out: string): void {
  const own = Deno.uid();
  if ([Deno.lstatSync(out), Deno.statSync(out)].every(({ uid }) => uid === own)) return;
  throw new Refusal(`"${out}" belongs to another user, who could read the key in it`, {
    next: "Choose a new folder with -o",
  });
}

/** The certificates of this CA from before it was renewed. */
function formerCas(directory: TlsDirectory): Certificate[] {
  return directory.trusted().filter(({ label }) => label.startsWith(previousPrefix))
    .flatMap(({ certificates }) => Array.isArray(certificates) ? certificates : []);
}

function isEarlierMint(file: string, cas: Certificate[]): boolean {
  try {
    const [found] = parseCertificates(readSmallText(file), file);
    return cas.some((ca) => isIssuedBy(found!, ca));
  } catch (error) {
    if (error instanceof PkiError) return false;
    throw error;
  }
}
