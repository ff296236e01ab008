/** A peer of `tls deploy`: how it is reached, what it is to have, and how its scripts are run. */
import { UserError } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { Certificate } from "../pki/x509/inspect.ts";
import type { PeerFiles } from "../pki/operations/issue_peer.ts";
import type { PeerCertificates, Step, Wanted } from "./plan.ts";
import type { Facts } from "./preflight.ts";
import {
  type Elevation,
  type Ran,
  run,
  type RunOptions,
  type Transport,
  type Variables,
} from "./remote.ts";
import { explainSsh } from "./ssh.ts";

/** One peer as it was named. */
export interface Peer {
  /** As given on the command line, or as the membership has it. */
  name: string;
  /** Names and addresses that others dial. */
  dialled: string[];
  /** How its host is reached. */
  transport: Transport;
  /** The ssh destination, for messages and port forwards; undefined for this host. */
  sshHost: string | undefined;
  /** The container that is the peer, on that host. */
  container: string | undefined;
  /** This host. It issues its own certificate, so only its service is deployed. */
  isSelf: boolean;
}

/** `skipped`: with --rolling, a peer before it failed. */
export type PeerState = "unchanged" | "changed" | "failed" | "unreachable" | "skipped";

export interface PeerResult {
  peer: string;
  state: PeerState;
  /** What was or would be changed. */
  steps: Step[];
  /** What went wrong. */
  error: string | undefined;
  /** What to do now. */
  next: string | undefined;
  /** Roles that run there, and whether they present the new certificate. */
  roles: { role: string; address: string; presents: boolean }[];
}

export interface DeployOptions {
  wanted: Wanted;
  ca: Certificate[];
  token: Uint8Array;
  /** The executable to push; opened once for each peer. */
  openBinary: (() => Promise<ReadableStream<Uint8Array>>) | undefined;
  /** Signs a request, or makes a key and certificate if the peer cannot make its own key. */
  issue: (
    csr: string | undefined,
    names: { hostnames: string[]; ips: string[] },
  ) => Promise<PeerFiles>;
  /**
   * Which certificate a port of an ssh host presents, as `Certificate.fingerprint`; undefined if
   * nothing answers there.
   */
  presented: (sshHost: string, address: string) => Promise<string | undefined>;
  /** What keeps a role from being ready, by its health port on an ssh host; undefined if nothing. */
  unready: (sshHost: string, address: string) => Promise<string | undefined>;
  /** Flags of the role to install as a service. */
  serviceArgs: string[];
  /** How long a worker's tasks may take to end before it is restarted. */
  drainMs: number;
  /** Whether a role that was restarted must become healthy. */
  waitsForHealth: boolean;
  /** As given with --ssh-user, for messages. */
  sshUser: string | undefined;
  /** Whether scripts run as root. */
  elevated: boolean;
  sudoPassword: string | undefined;
  dryRun: boolean;
  /** Names and addresses of other hosts, in lower case. */
  taken: (peer: Peer) => ReadonlySet<string>;
  /** This host's name, for the lock on the peer. */
  hostname: string;
  /** Waits for one of the places for uploads, and runs the job there. */
  upload: <T>(job: () => Promise<T>) => Promise<T>;
  clock: Clock;
  signal: AbortSignal;
  /** Called with each step, for the progress display. */
  progress: (peer: Peer, doing: string) => void;
}

/** A peer that was looked at, for the steps that change it. */
export interface Target {
  peer: Peer;
  /** The peer's own shell, or that of the container on it. */
  transport: Transport;
  facts: Facts;
  present: PeerCertificates;
  options: DeployOptions;
}

/** ssh could not connect, or the host did not answer. */
export class Unreachable extends UserError {
  override name = "Unreachable";
}

/** @throws {Unreachable} if ssh itself failed: it exits with 255 then. */
export function refuseUnreachable(peer: Peer, ran: Ran): void {
  if (ran.code !== 255 || peer.sshHost === undefined) return;
  const { what, next } = explainSsh(peer.sshHost, ran.stderr);
  throw new Unreachable(what, { next });
}

/** Whether scripts for this peer are to become root. In a container, and here, they never do. */
export function wantsRoot(peer: Peer, { elevated }: DeployOptions): boolean {
  return elevated && peer.container === undefined && !peer.isSelf;
}

/** How a script becomes root; undefined if that is not wanted, not needed or not possible. */
export function elevationOf(
  peer: Peer,
  { root }: Pick<Facts, "root">,
  options: DeployOptions,
): Elevation {
  if (!wantsRoot(peer, options)) return undefined;
  if (root === "doas") return { by: "doas" };
  if (root === "sudo") return { by: "sudo" };
  if (root !== "password" || options.sudoPassword === undefined) return undefined;
  return { by: "sudo", password: options.sudoPassword };
}

/** How a script that changes a peer is run: the options of `run` and `open`. */
export function scriptOptions(
  { peer, facts, options }: Target,
  timeoutMs: number,
  variables: Variables,
): RunOptions {
  const { clock, signal } = options;
  const elevation = elevationOf(peer, facts, options);
  return { ...elevation && { elevation }, variables, timeoutMs, clock, signal };
}

/** Runs a script on a peer to its end. */
export function runScript(
  target: Target,
  script: string,
  { timeoutMs, input, variables }: {
    timeoutMs: number;
    input?: Uint8Array | ReadableStream<Uint8Array>;
    variables: Variables;
  },
): Promise<Ran> {
  const how = scriptOptions(target, timeoutMs, variables);
  return run(target.transport, script, input === undefined ? how : { ...how, input });
}

/** The last line of what a program printed: usually its reason. */
export function lastLine(text: string): string {
  return text.trim().split("\n").at(-1)?.trim() ?? "";
}
