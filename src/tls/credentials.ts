import type { Clock } from "../base/clock.ts";
import type { Env } from "../base/env.ts";
import { messageOf, UsageError, UserError } from "../base/errors.ts";
import { appearance } from "../base/fs/appearance.ts";
import { every } from "../base/lifetimes.ts";
import { type Certificate, type Pair, readCertificates, readPair } from "../pki/x509/inspect.ts";
import { pemOf } from "../pki/x509/pem.ts";
import { isIssuedBy } from "../pki/x509/chain.ts";
import { PkiError } from "../pki/errors.ts";
import type { TlsMode } from "./mode.ts";
import { provePair } from "./prove.ts";

/** The certificate that one side presents, and the CAs that it trusts. */
export interface Loaded {
  pair: Pair | undefined;
  /** `pem` is in the form that we write, not as it was read: TLS understands fewer forms of PEM. */
  ca: { pem: string; certificates: Certificate[] } | undefined;
}

/** Credentials that follow their files. */
export interface Credentials {
  /** The newest usable ones. */
  loaded(): Loaded;
  /** Checks the files each second until the signal aborts. */
  follow(env: Pick<Env, "clock" | "log">, signal: AbortSignal): Promise<void>;
}

/**
 * Polling instead of a watch: a watch ends with the first rename, and watching the folder needs
 * permission to read all of it.
 */
const pollMs = 1000;

/** A writer may be half done when the files are first read; the second failure is reported. */
const reportedFailures = 2;

/** Looks until files that failed are tried again: what was wrong may have been this host, not them. */
const againAfter = 30;

/**
 * Reads the files of a mode. A later pair is proven by a handshake in memory before it is used, so it
 * never replaces a better one.
 *
 * @param options.prove whether the first pair is proven too: a server that TLS cannot use would drop
 * every caller, while a client reports the failure of its first connection.
 * @param options.optional what may be missing, now or later: the CAs, or the pair too.
 * @param options.changed called with each later set that is usable; new connections use it.
 * @throws {UsageError} if they are not usable now.
 */
export async function readCredentials(
  mode: TlsMode,
  { prove = false, optional, changed = () => {} }: {
    prove?: boolean;
    optional?: "ca" | "all";
    changed?: (loaded: Loaded) => void;
  } = {},
): Promise<Credentials> {
  const files = [mode.certFile, mode.keyFile, mode.clientCaFile].filter((file) =>
    file !== undefined
  );
  /** How the files looked when they were last read, or when reading them last failed. */
  let seen = appearance(files);
  let loaded = await read(mode, optional).catch(misconfigured);
  if (prove) await proveAlone(loaded).catch(misconfigured);
  let failures = 0;
  let looks = 0;

  async function poll(env: Pick<Env, "clock" | "log">): Promise<void> {
    const now = appearance(files);
    looks++;
    const isReported = failures >= reportedFailures;
    if (now === seen && (failures === 0 || isReported && looks < againAfter)) return;
    looks = 0;
    failures = now === seen ? failures : 0;
    seen = now;
    try {
      const next = await read(mode, optional);
      refuseOlder(next, loaded, env.clock);
      await proveWithCa(next);
      failures = 0;
      loaded = next;
    } catch (error) {
      if (++failures !== reportedFailures) return;
      env.log.error("new certificate files are not usable; the former ones stay in use", {
        error: messageOf(error),
        next: error instanceof UserError ? error.next : undefined,
      });
      return;
    }
    changed(loaded);
    env.log.info("certificate files have changed and are in use", {
      certificate: loaded.pair?.certificate.subject,
      until: loaded.pair?.certificate.notAfter.toISOString(),
      cas: loaded.ca?.certificates.length,
    });
  }

  return {
    loaded: () => loaded,
    follow: (env, signal) =>
      every({
        periodMs: pollMs,
        coarse: true,
        clock: env.clock,
        signal,
        failed: (error) =>
          env.log.error("could not look at certificate files", { error: messageOf(error) }),
      }, () => poll(env)),
  };
}

async function read(
  { certFile, keyFile, clientCaFile }: TlsMode,
  optional: "ca" | "all" | undefined,
): Promise<Loaded> {
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new UsageError("A certificate needs its key, and a key its certificate", {
      next: "Set both peer.cert_file and peer.key_file",
    });
  }
  const isHere = async (file: string | undefined, mayBeMissing: boolean) =>
    file !== undefined && !(mayBeMissing && await isMissing(file));
  const hasPair = await isHere(certFile, optional === "all") ||
    await isHere(keyFile, optional === "all");
  const hasCa = await isHere(clientCaFile, optional !== undefined);
  return {
    pair: hasPair ? await readPair(certFile!, keyFile!) : undefined,
    ca: hasCa ? await readCa(clientCaFile!) : undefined,
  };
}

async function isMissing(file: string): Promise<boolean> {
  try {
    await Deno.stat(file);
    return false;
  } catch (error) {
    return error instanceof Deno.errors.NotFound; // Else the one who reads it says why it cannot.
  }
}

/** At the start, unusable files are an error of the configuration. */
function misconfigured(error: unknown): never {
  if (!(error instanceof UserError)) throw error;
  throw new UsageError(error.message, {
    code: error.code,
    next: error.next ?? "agent config show (it says where each of the peer.* settings came from)",
    cause: error,
  });
}

async function readCa(file: string): Promise<NonNullable<Loaded["ca"]>> {
  const certificates = await readCertificates(file);
  return { pem: pemOf(certificates), certificates };
}

/** Throws if TLS cannot use the pair at all. An expired pair passes, so that it can be repaired. */
async function proveAlone({ pair }: Loaded): Promise<void> {
  if (pair !== undefined) await provePair(pair.certPem, pair.keyPem, undefined);
}

/** Throws also if our CA issued the pair and a client that trusts this CA would refuse it. */
async function proveWithCa(loaded: Loaded): Promise<void> {
  const { pair, ca } = loaded;
  const isOurs = pair?.chain.some((each) =>
    ca?.certificates.some((root) => isIssuedBy(each, root))
  );
  if (!isOurs) return await proveAlone(loaded);
  try {
    await provePair(pair!.certPem, pair!.keyPem, ca!.pem);
  } catch (error) {
    // Dates are compared by `refuseOlder`: an expired pair may follow an expired one.
    if (error instanceof PkiError && error.code === "expired") return;
    throw error;
  }
}

/** An expired certificate must not replace one that still works. */
function refuseOlder(next: Loaded, current: Loaded, clock: Clock): void {
  if (!isExpired(next, clock) || isExpired(current, clock)) return;
  const { subject, notAfter } = next.pair!.certificate;
  throw new UserError(`The new certificate "${subject}" expired on ${notAfter.toISOString()}`);
}

function isExpired({ pair }: Loaded, clock: Clock): boolean {
  return pair !== undefined && pair.certificate.notAfter.getTime() < clock.now();
}
