import type { Clock } from "../base/clock.ts";
import type { Env } from "../base/env.ts";
import { messageOf, UsageError, UserError } from "../base/errors.ts";
import { every } from "../base/lifetimes.ts";
import {
  type Certificate,
  type Pair,
  parseCertificates,
  readPair,
  readSmallText,
} from "../pki/x509/inspect.ts";
import type { TlsMode } from "./mode.ts";

/** What one side proves itself with, and what it believes. */
export interface Loaded {
  pair: Pair | undefined;
  ca: { pem: string; certificates: Certificate[] } | undefined;
}

/** Credentials that follow their files. */
export interface Credentials {
  /** The newest that were usable. */
  loaded(): Loaded;
  /** Looks at the files each second until the signal aborts. */
  follow(env: Pick<Env, "clock" | "log">, signal: AbortSignal): Promise<void>;
}

/**
 * Files are looked at rather than watched: a watch ends with the first rename, and watching the
 * folder would need permission for all of it.
 */
const lookMs = 1000;

/**
 * Reads the files of a mode.
 *
 * @param changed told of each later set that is usable; from then on connections use it.
 * @throws {UsageError} where they are not usable now.
 */
export async function readCredentials(
  mode: TlsMode,
  changed: (loaded: Loaded) => void = () => {},
): Promise<Credentials> {
  const files = [mode.certFile, mode.keyFile, mode.caFile].filter((file) => file !== undefined);
  /** How the files looked when they were last read, or when reading them last failed. */
  let seen = await appearance(files);
  let loaded = await read(mode).catch(misconfigured);
  let failures = 0;

  async function look(env: Pick<Env, "clock" | "log">): Promise<void> {
    const now = await appearance(files);
    // What could not be read is read once more before it is called bad: a writer may be at it.
    if (now === seen && failures !== 1) return;
    failures = now === seen ? failures : 0;
    seen = now;
    try {
      const next = await read(mode);
      refuseOlder(next, loaded, env.clock);
      failures = 0;
      loaded = next;
    } catch (error) {
      if (++failures < 2) return;
      env.log.error("new certificate files are not usable; the former stay in use", {
        error: messageOf(error),
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
        periodMs: lookMs,
        clock: env.clock,
        signal,
        failed: (error) =>
          env.log.error("could not look at certificate files", { error: messageOf(error) }),
      }, () => look(env)),
  };
}

async function read({ certFile, keyFile, caFile }: TlsMode): Promise<Loaded> {
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new UsageError("A certificate needs its key, and a key its certificate", {
      next: "Set both peer.cert_file and peer.key_file",
    });
  }
  return {
    pair: certFile === undefined ? undefined : await readPair(certFile, keyFile!),
    ca: caFile === undefined ? undefined : await readCa(caFile),
  };
}

/** At the start it is the configuration that names files which cannot be used. */
function misconfigured(error: unknown): never {
  if (!(error instanceof UserError)) throw error;
  throw new UsageError(error.message, {
    code: error.code,
    next: error.next ?? "agent config show (it says where each of the peer.* settings came from)",
    cause: error,
  });
}

async function readCa(file: string): Promise<NonNullable<Loaded["ca"]>> {
  const pem = await readSmallText(file);
  return { pem, certificates: parseCertificates(pem, file) };
}

/** An expired certificate must not take the place of one that still works. */
function refuseOlder(next: Loaded, current: Loaded, clock: Clock): void {
  if (!isExpired(next, clock) || isExpired(current, clock)) return;
  const { subject, notAfter } = next.pair!.certificate;
  throw new UserError(`The new certificate "${subject}" expired on ${notAfter.toISOString()}`);
}

export function isExpired({ pair }: Loaded, clock: Clock): boolean {
  return pair !== undefined && pair.certificate.notAfter.getTime() < clock.now();
}

/**
 * Differs when any of the files has been replaced or rewritten, also by way of a symbolic link
 * somewhere on the path, as Kubernetes swaps a mounted secret.
 */
async function appearance(files: string[]): Promise<string> {
  const all = await Promise.all(files.map(async (file) => {
    try {
      const { dev, ino, size, mtime, ctime } = await Deno.stat(file);
      return [dev, ino, size, mtime?.getTime(), ctime?.getTime()].join();
    } catch (error) {
      return error instanceof Error ? error.name : String(error);
    }
  }));
  return all.join(" ");
}
