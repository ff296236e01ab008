/** Runs `tls deploy` for all peers, several at a time. */
import { createHash } from "node:crypto";
import type { Env } from "../base/env.ts";
import { messageOf, UsageError, UserError } from "../base/errors.ts";
import { type Binary, openBinary, readBinary } from "./binary.ts";
import { deployPeer } from "./deploy.ts";
import { limited } from "../base/limited.ts";
import type { Peer, PeerResult } from "./peer.ts";
import { presentedBy } from "./presented.ts";
import { run } from "./remote.ts";
import { unreadyBy } from "./unready.ts";
import { version } from "../base/version.ts";
import { explainSsh, sshExit, type SshOptions, sshTransport } from "./ssh.ts";
import { peersOf, selfPeer } from "./targets.ts";
import { previousPrefix } from "../pki/directory/bundle.ts";
import { type Pki, pkiOf } from "../pki/directory/context.ts";
import { issuePeer } from "../pki/operations/issue_peer.ts";
import type { Certificate } from "../pki/x509/inspect.ts";
import type { CertificateRole } from "../pki/x509/roles.ts";

/** More would only compete for the disk and the uplink of this host. */
const uploadsAtOnce = 5;

/** Longer than any gap between two scripts, while the CA holder works on other peers. */
const persistMs = 60_000;
/** A peer may wait for many others, and some of them for their tasks. */
const rollingPersistMs = 3_600_000;

export interface DeployRequest {
  args: string[];
  /** Flags of the role that is installed as a service. */
  serviceArgs: string[];
  /** The same as its process has them; undefined if those that it has will do. */
  serviceFlags: string[] | undefined;
  /** The name of this host. */
  self: string;
  env: Env;
  /** The cluster's bearer token. */
  token: string;
  /** Called once, where --ask-sudo was given. */
  askPassword: () => Promise<string>;
  /** Called with each step at a peer, and with its result. */
  progress: { doing(peer: string, what: string): void; done(result: PeerResult): Promise<void> };
  options: {
    dryRun: boolean;
    force: boolean;
    batch: boolean;
    sshUser: string | undefined;
    sshHost: Readonly<Record<string, string>>;
    container: string | undefined;
    containerHost: Readonly<Record<string, string>>;
    pushBinary: boolean;
    allowDowngrade: boolean;
    binary: string | undefined;
    service: string | undefined;
    role: CertificateRole | undefined;
    sudo: boolean;
    askSudo: boolean;
    acceptNewHosts: boolean;
    parallel: number;
    /** One after the other, until one fails. */
    rolling: boolean;
    /** How long a worker's tasks may take to end before it is restarted. */
    drain: number;
  };
}

/** The folder for the sockets of ssh connections. Both threads derive it from our process id. */
export function scratchFolder(): string {
  return `/tmp/agent-deploy-${Deno.pid}`;
}

/** Makes that folder, for this user alone. */
export function makeScratch(): string {
  const path = scratchFolder();
  try {
    Deno.mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    // A killed process with the same id left it, or another user made it.
    const { uid, isDirectory } = Deno.lstatSync(path);
    if (!isDirectory || uid !== Deno.uid()) {
      throw new UserError(`"${path}" belongs to another user`, { next: `Remove ${path}` });
    }
    Deno.removeSync(path, { recursive: true });
    Deno.mkdirSync(path, { mode: 0o700 });
  }
  return path;
}

/** The executable that runs now; undefined from a checkout, where Deno runs it. */
export function ownExecutable(): string {
  const path = Deno.execPath();
  if (!Deno.build.standalone) {
    throw new UsageError("--push-binary copies the executable, and this is a checkout", {
      next: "Build it with scripts/compile, then: dist/agent tls deploy --push-binary …",
    });
  }
  return path;
}

export async function deployAll(request: DeployRequest): Promise<PeerResult[]> {
  const { options, env, progress } = request;
  const scratch = scratchFolder();
  const ssh: SshOptions = {
    scratch,
    user: options.sshUser,
    batch: options.batch || !env.stderr.isTerminal || !env.stdin.isTerminal,
    acceptNewHosts: options.acceptNewHosts,
    persistMs: options.rolling ? rollingPersistMs : persistMs,
  };
  let peers: Peer[] = [];
  try {
    const pki = pkiOf(env);
    peers = peersOf({ ...options, peers: request.args }, ssh);
    // Users expect this host to be part of the mesh too. The other roles run only where asked.
    if (options.service === "node") peers.push(selfPeer(request.self));
    const { ca, previousCas } = await casOf(pki);
    const token = new TextEncoder().encode(`${request.token}\n`);
    const binary = await binaryOf(options);
    const sudoPassword = options.askSudo ? await request.askPassword() : undefined;
    if (!ssh.batch) await connectOneByOne(peers, ssh, env);
    const turn = limited(options.rolling ? 1 : options.parallel);
    let failed: string | undefined;
    const upload = limited(uploadsAtOnce);
    const issueTurn = limited(1);
    return await Promise.all(peers.map((peer) =>
      turn(async () => {
        if (options.rolling && failed !== undefined) {
          const result = skipped(peer, failed);
          await progress.done(result);
          return result;
        }
        const result = await deployPeer(peer, {
          wanted: {
            caFingerprint: ca[0]!.fingerprint,
            previousCas,
            tokenSha256: createHash("sha256").update(token).digest("hex"),
            binary,
            role: options.role,
            service: options.service,
            serviceFlags: request.serviceFlags,
            force: options.force,
            allowDowngrade: options.allowDowngrade,
            now: env.clock.now(),
          },
          ca,
          token,
          openBinary: binary && (() => openBinary(binary.path)),
          // One after the other: each takes the lock of the TLS directory.
          issue: (csr, names) =>
            issueTurn(() => issuePeer(pki, { csr, names, role: options.role })),
          presented: (host, address) => presentedBy(host, address, ssh),
          unready: (host, address) => unreadyBy(host, address, ssh),
          serviceArgs: request.serviceArgs,
          drainMs: options.drain,
          waitsForHealth: options.rolling,
          sshUser: options.sshUser,
          elevated: options.sudo || options.askSudo,
          sudoPassword,
          dryRun: options.dryRun,
          taken: (own) => namesOfOthers(own, peers, pki),
          hostname: pki.detect().hostname,
          upload,
          clock: env.clock,
          signal: env.signal,
          progress: ({ name }, doing) => progress.doing(name, doing),
        });
        if (result.state === "failed" || result.state === "unreachable") failed = peer.name;
        await progress.done(result);
        return result;
      })
    ));
  } finally {
    await closeConnections(sshHostsOf(peers), ssh);
  }
}

function skipped(peer: Peer, failed: string): PeerResult {
  return {
    peer: peer.name,
    state: "skipped",
    steps: [],
    error: `because ${failed} failed before it`,
    next: undefined,
    roles: [],
  };
}

/**
 * The CA that issues, and the fingerprints of those that it replaced and that are still trusted.
 *
 * @throws {PkiError} if this host does not hold a CA.
 */
async function casOf(pki: Pki): Promise<{ ca: Certificate[]; previousCas: string[] }> {
  const { withDirectory } = await import("../pki/directory/tls_directory.ts");
  return await withDirectory(pki, (directory) => {
    const { certificate, others } = directory.issuer();
    const previousCas = directory.trusted()
      .filter(({ label }) => label.startsWith(previousPrefix))
      .flatMap(({ certificates }) => Array.isArray(certificates) ? certificates : [])
      .map(({ fingerprint }) => fingerprint);
    return { ca: [certificate, ...others], previousCas };
  });
}

async function binaryOf(
  { pushBinary, binary }: DeployRequest["options"],
): Promise<Binary | undefined> {
  if (binary !== undefined) return await readBinary(binary);
  return pushBinary ? await readBinary(ownExecutable(), version) : undefined;
}

/** Names and addresses of other hosts: no peer may have them in its certificate. */
function namesOfOthers(own: Peer, peers: Peer[], pki: Pki): ReadonlySet<string> {
  const { hostname, hostnames, ips } = pki.detect();
  const others = peers.filter((peer) => peer !== own).flatMap(({ dialled }) => dialled);
  const mine = own.sshHost === undefined ? [] : [hostname, ...hostnames, ...ips];
  return new Set([...others, ...mine].map((name) => name.toLowerCase()));
}

/**
 * With a terminal ssh may ask for a password or about a host key. A person cannot tell several such
 * questions at once apart, so connections that would ask are opened first, one by one.
 */
async function connectOneByOne(peers: Peer[], ssh: SshOptions, env: Env): Promise<void> {
  const hosts = sshHostsOf(peers);
  const waits = { timeoutMs: 20_000, clock: env.clock, signal: env.signal };
  const turn = limited(10);
  const asking = (await Promise.all(hosts.map((host) =>
    turn(async () => {
      const ran = await run(sshTransport(host, { ...ssh, batch: true }), "exit 0", waits);
      return ran.code === 255 && explainSsh(host, ran.stderr).askable ? host : undefined;
    })
  ))).filter((host) => host !== undefined);
  for (const host of asking) {
    if (env.signal.aborted) throw env.signal.reason;
    await env.stderr.write(`Connecting to ${host}\n`);
    // A person may have to look for the password first.
    await run(sshTransport(host, ssh), "exit 0", { ...waits, timeoutMs: 120_000 });
  }
}

function sshHostsOf(peers: Peer[]): string[] {
  return [...new Set(peers.flatMap(({ sshHost }) => sshHost ?? []))];
}

/** Ends the shared connections and removes the folder of their sockets. */
async function closeConnections(hosts: string[], ssh: SshOptions): Promise<void> {
  const sockets = (() => {
    try {
      return [...Deno.readDirSync(ssh.scratch)].length;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return 0;
      throw error;
    }
  })();
  if (sockets > 0) {
    await Promise.all(hosts.map(async (host) => {
      const { program, args } = sshExit(host, { ...ssh, batch: true });
      await new Deno.Command(program, { args, stdout: "null", stderr: "null" }).output();
    }));
  }
  try {
    await Deno.remove(ssh.scratch, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) {
      throw new UserError(`Could not remove "${ssh.scratch}": ${messageOf(error)}`, {
        next: `rm -r ${ssh.scratch}`,
        cause: error,
      });
    }
  }
}
