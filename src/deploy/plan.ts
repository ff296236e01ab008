/** What a peer needs: a pure comparison of what is there with what is wanted. */
import { isIP } from "node:net";
import { isNewer } from "../base/version_order.ts";
import type { Facts } from "./preflight.ts";

/** What every peer is to have. */
export interface Wanted {
  /** SHA-256 of the CA that issues, in hex. */
  caFingerprint: string;
  /** Fingerprints of CAs that this one replaced and that this host still trusts. */
  previousCas: string[];
  tokenSha256: string;
  /** The executable to push. */
  binary: WantedBinary | undefined;
  role: string | undefined;
  service: string | undefined;
  /** The flags of that service as its process has them; undefined if any will do. */
  serviceFlags: string[] | undefined;
  force: boolean;
  /** Whether the executable may replace one of a newer version. */
  allowDowngrade: boolean;
  /** Milliseconds since the epoch. */
  now: number;
}

export interface WantedBinary {
  sha256: string;
  bytes: number;
  arch: string;
  libc: "glibc" | "any";
  /** Undefined if it is another one than this. */
  version: string | undefined;
}

/** The certificates on the peer, already parsed: this file knows no formats. */
export interface PeerCertificates {
  caFingerprint: string | undefined;
  certificate: {
    byOurCa: boolean;
    names: string[];
    role: string | undefined;
    /** Whether its renewal is due. */
    due: boolean;
  } | undefined;
}

export interface Problem {
  what: string;
  next: string;
}

export interface Step {
  kind: "executable" | "certificate" | "token" | "settings" | "cleanup" | "service" | "restart";
  /** Why, for people: "no certificate yet". */
  why: string;
  /** The role of a restart. */
  role?: string;
}

export type Plan = { problems: Problem[] } | { steps: Step[] };

/** A clock that is off by more makes certificates look expired or not yet valid. */
const maxClockOffsetMs = 5 * 60_000;
/** Certificates, a key and their temporary copies take a few tens of KiB. */
const stateKiB = 1024;

export function planPeer(
  facts: Facts,
  present: PeerCertificates,
  wanted: Wanted,
  names: string[],
): Plan {
  const problems = problemsOf(facts, present, wanted);
  if (problems.length > 0) return { problems };
  const steps: Step[] = [];
  const replaces = replacesExecutable(facts, wanted);
  if (replaces) steps.push({ kind: "executable", why: whyExecutable(facts, wanted.binary!) });
  const why = whyCertificate(facts, present, wanted, names);
  if (why !== undefined) steps.push({ kind: "certificate", why });
  if (facts.tokenSha256 !== wanted.tokenSha256) {
    const token = facts.tokenSha256 === undefined ? "none there" : "another token";
    steps.push({ kind: "token", why: token });
  }
  if (facts.agent !== undefined || replaces) steps.push(...settingsStep(facts));
  // The scripts of these steps clean up too.
  const cleans = steps.some(({ kind }) => kind !== "executable");
  if (facts.isUnfinished && !cleans) {
    steps.push({ kind: "cleanup", why: "an earlier run was cut off" });
  }
  const service = serviceStep(facts, wanted);
  steps.push(
    ...service,
    ...restartSteps(facts, service.length > 0 ? wanted.service : "", replaces),
  );
  return { steps };
}

/** The CA holder itself: `--service node` installs the node there too. */
export function planSelf(facts: Facts, wanted: Wanted): Plan {
  const service = serviceStep(facts, wanted);
  const restarts = restartSteps(facts, service.length > 0 ? wanted.service : "", false);
  if (service.length + restarts.length === 0) return { steps: [] };
  const problems = serviceProblems(facts, {
    what: "agent is not installed in the PATH of this host",
    next: "Copy the executable to /usr/local/bin/agent, then run this again",
  });
  if (problems.length > 0) return { problems };
  return { steps: [...settingsStep(facts), ...service, ...restarts] };
}

function replacesExecutable({ agent }: Facts, { binary }: Wanted): boolean {
  return binary !== undefined && agent?.sha256 !== binary.sha256;
}

function whyExecutable({ agent }: Facts, { version }: WantedBinary): string {
  if (agent === undefined) return "none there";
  if (agent.version === undefined || version === undefined) return "another one there";
  return agent.version === version
    ? `another build of ${version} there`
    : `${agent.version} there, this is ${version}`;
}

/**
 * Roles and commands on a host with a certificate are to speak mutual TLS. A file that says something
 * else is left alone; so is a host whose coordinator or worker runs already: its commands would speak
 * TLS at once, and the role only after a restart.
 */
function settingsStep({ peerInsecureSet, roles }: Facts): Step[] {
  const isUndecided = !peerInsecureSet && !roles.includes("coordinator") &&
    !roles.includes("worker");
  return isUndecided ? [{ kind: "settings", why: "peer.insecure=false" }] : [];
}

function serviceStep(facts: Facts, { service, serviceFlags }: Wanted): Step[] {
  if (service === undefined) return [];
  if (!facts.roles.includes(service)) {
    return [{ kind: "service", why: `agent ${service} does not run` }];
  }
  const args = facts.services.find(({ role }) => role === service)?.args;
  if (serviceFlags === undefined || args === undefined) return [];
  const isSame = serviceFlags.toSorted().join("\n") === args.toSorted().join("\n");
  return isSame ? [] : [{ kind: "service", why: `agent ${service} runs with other flags` }];
}

/**
 * @param installed the role whose service is installed anyway.
 * @param replaces whether the executable is replaced now.
 */
function restartSteps(facts: Facts, installed: string | undefined, replaces: boolean): Step[] {
  // Services of the system are root's.
  if (facts.serviceManager === "systemd" && facts.uid !== 0) return [];
  return facts.services.filter(({ role }) => role !== installed).flatMap(({ role, down }) => {
    const restart = (
      why: string,
    ): Step[] => [{ kind: "restart", role, why: `agent ${role} ${why}` }];
    if (down) return restart("does not run");
    if (!facts.roles.includes(role)) return [];
    return replaces || facts.formerRoles.includes(role)
      ? restart("runs the former executable")
      : [];
  });
}

function whyCertificate(
  facts: Facts,
  present: PeerCertificates,
  wanted: Wanted,
  names: string[],
): string | undefined {
  const { certificate } = present;
  if (present.caFingerprint === undefined) return "no CA yet";
  if (wanted.previousCas.includes(present.caFingerprint)) return "the CA was renewed";
  if (present.caFingerprint !== wanted.caFingerprint) return "another CA";
  if (certificate === undefined) return "no certificate yet";
  if (wanted.force) return "--force";
  if (!certificate.byOurCa) return "the certificate is of another CA";
  if (!facts.hasServerKey) return "the key is missing";
  if (certificate.due) return "the certificate ends soon";
  if (certificate.role !== wanted.role) return "another role";
  if (!facts.enabled) return "TLS is not enabled";
  const missing = names.filter((name) => !certificate.names.includes(name));
  return missing.length > 0 ? `does not cover ${missing.join(", ")}` : undefined;
}

function problemsOf(facts: Facts, present: PeerCertificates, wanted: Wanted): Problem[] {
  const found: Problem[] = [];
  const add = (when: boolean, what: string, next: string) => {
    if (when) found.push({ what, next });
  };
  const foreign = present.caFingerprint !== undefined &&
    ![wanted.caFingerprint, ...wanted.previousCas].includes(present.caFingerprint);
  add(
    foreign && !wanted.force,
    `it belongs to another CA (SHA-256 ${present.caFingerprint?.slice(0, 23)}…, ours is ` +
      `${wanted.caFingerprint.slice(0, 23)}…)`,
    "To move it to this CA, run the same command with --force",
  );
  add(
    facts.hasCaKey && !foreign && present.caFingerprint !== undefined,
    "it holds the key of this same CA",
    "Nothing to deploy there: it issues its own certificate with agent tls renew",
  );
  add(
    facts.unwritable !== undefined,
    `${facts.unwritable}`,
    facts.readOnly
      ? "Remount it there: mount -o remount,rw, or log in as another user with --ssh-user"
      : facts.root === "sudo" || facts.root === "password"
      ? "Use --sudo, or --ask-sudo if sudo asks for a password"
      : "Log in as another user with --ssh-user",
  );
  const offset = facts.now - wanted.now;
  add(
    Math.abs(offset) > maxClockOffsetMs,
    `its clock is ${Math.round(Math.abs(offset) / 60_000)} minutes ${
      offset > 0 ? "ahead of" : "behind"
    } this host's`,
    "Set the clock there, for example with: timedatectl set-ntp true",
  );
  add(
    (facts.freeKiB ?? Infinity) < stateKiB,
    `only ${facts.freeKiB} KiB are free for ${facts.tlsRoot}`,
    "Free some space there",
  );
  if (wanted.binary !== undefined) {
    found.push(...binaryProblems(facts, wanted.binary, wanted.allowDowngrade));
  }
  if (serviceStep(facts, wanted).length > 0) {
    const missing = { what: "there is no agent to run as a service", next: "Add --push-binary" };
    found.push(...serviceProblems(facts, wanted.binary === undefined ? missing : undefined));
  }
  return found;
}

/** @param missing what to say if there is no executable; undefined: one is going to be installed. */
function serviceProblems(facts: Facts, missing: Problem | undefined): Problem[] {
  const found: Problem[] = [];
  if (facts.agent === undefined && missing !== undefined) found.push(missing);
  if (facts.serviceManager === "systemd" && facts.uid !== 0) {
    found.push({
      what: `only root can install a service, and this is "${facts.user}"`,
      next: "Use --sudo, or --ask-sudo if sudo asks for a password",
    });
  }
  return found;
}

function binaryProblems(facts: Facts, binary: WantedBinary, allowDowngrade: boolean): Problem[] {
  if (facts.agent?.sha256 === binary.sha256) return [];
  const found: Problem[] = [];
  const there = facts.agent?.version;
  // What a newer version has written to disk, an older one may not be able to read.
  if (
    !allowDowngrade && there !== undefined && binary.version !== undefined &&
    isNewer(there, binary.version)
  ) {
    found.push({
      what: `it has agent ${there}, which is newer than the one to copy, ${binary.version}`,
      next: `Upgrade this host first; or to go back to ${binary.version} there, run the same ` +
        "command with --allow-downgrade",
    });
  }
  if (facts.os !== "Linux" || archOf(facts.arch) !== binary.arch) {
    found.push({
      what: `it is ${facts.os} on ${facts.arch}, and the executable is for Linux on ${binary.arch}`,
      next: "Give the right one with --binary FILE",
    });
  } else if (facts.libc === "musl" && binary.libc === "glibc") {
    found.push({
      what: "its C library is musl, and the executable needs glibc",
      next: "Run agent there in a container with glibc (scripts/image-build), or leave out " +
        "--push-binary: certificates need no executable",
    });
  }
  if (facts.binUnwritable) {
    found.push({
      what: `"${facts.user}" cannot write to ${facts.bin}`,
      next: "Use --sudo, or --ask-sudo if sudo asks for a password",
    });
  }
  if (facts.noexec) {
    found.push({
      what: `${facts.bin} is on a file system that is mounted noexec`,
      next: "Remount it with exec, or log in as another user with --ssh-user",
    });
  }
  // Both the new and the old file exist for a moment.
  const neededKiB = Math.ceil(binary.bytes / 1024) + stateKiB;
  if ((facts.binFreeKiB ?? Infinity) < neededKiB) {
    found.push({
      what: `only ${facts.binFreeKiB} KiB are free for ${facts.bin}, and ${neededKiB} are needed`,
      next: "Free some space there",
    });
  }
  return found;
}

/** Machine names of `uname -m` as the build names them. */
export function archOf(machine: string): string {
  return { x86_64: "x86_64", amd64: "x86_64", aarch64: "aarch64", arm64: "aarch64" }[machine] ??
    machine;
}

/** At most as many detected names as `tls init` puts into a certificate. */
const maxDetected = 32;
const hostName =
  /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/i;

/**
 * Names and addresses for a peer's certificate: first those that others dial, then those that the
 * peer reports.
 *
 * @param others names and addresses of other hosts. With one of them in its certificate the peer
 * could pretend to be that host, so they are left out.
 */
export function namesFor(
  dialled: string[],
  { hostname, fqdn, addresses }: Pick<Facts, "hostname" | "fqdn" | "addresses">,
  others: ReadonlySet<string>,
): { hostnames: string[]; ips: string[] } {
  const claimed = [hostname, ...fqdn === undefined ? [] : [fqdn], ...addresses]
    .filter((name) => !others.has(name.toLowerCase()) && name !== "localhost")
    .slice(0, maxDetected);
  const all = [...new Set([...dialled, ...claimed])];
  return {
    hostnames: all.filter((name) => isIP(name) === 0 && hostName.test(name)),
    ips: all.filter((name) => isIP(name) !== 0 && !/^fe80:/i.test(name)),
  };
}
