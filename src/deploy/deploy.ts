/**
 * `tls deploy`: from bare sshd to a member of the cluster, for many peers at once.
 *
 * For each peer: look (one script, nothing is changed), compare with what is wanted, change only what
 * differs, then dial the roles that run there and see whether they present the new certificate. A
 * peer ends as `unchanged`, `changed`, `failed` or `unreachable`, with one line that says why.
 */
import { messageOf, UserError } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { Certificate } from "../pki/x509/inspect.ts";
import type { PeerFiles } from "../pki/operations/issue_peer.ts";
import { executableScript, filesScript, requestScript, tokenScript } from "./apply.ts";
import { certificatesThere } from "./peer_certificates.ts";
import { namesFor, planPeer, planSelf, type Problem, type Step, type Wanted } from "./plan.ts";
import { type Facts, preflightScript, readFacts } from "./preflight.ts";
import { type Elevation, inContainer, open, type Ran, run, type Transport } from "./remote.ts";
import { explainSsh } from "./ssh.ts";

/** One peer as it was named. */
export interface Peer {
  /** As given on the command line, or as the membership has it. */
  name: string;
  /** Names and addresses that others dial. */
  dialled: string[];
  /** How its host is reached. */
  transport: Transport;
  /** For messages and for the port forward: the ssh target; undefined for this host. */
  sshHost: string | undefined;
  /** The container that is the peer, on that host. */
  container: string | undefined;
  /** This host, which issues its own certificate: only the service is its concern here. */
  isSelf: boolean;
}

export type PeerState = "unchanged" | "changed" | "failed" | "unreachable";

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
  /** The executable to push, opened anew for each peer. */
  openBinary: (() => Promise<ReadableStream<Uint8Array>>) | undefined;
  /** Signs a request, or makes a pair where the peer cannot make its own key. */
  issue: (
    csr: string | undefined,
    names: { hostnames: string[]; ips: string[] },
  ) => Promise<PeerFiles>;
  /** Asks which certificate a port of the peer presents; undefined if nothing listens there. */
  presented: (peer: Peer, address: string) => Promise<string | undefined>;
  /** Command line of the role to install as a service. */
  serviceArgs: string[];
  /** Whether scripts are to run as root. */
  elevated: boolean;
  sudoPassword: string | undefined;
  dryRun: boolean;
  /** What other hosts are dialled by, in lower case. */
  taken: (peer: Peer) => ReadonlySet<string>;
  /** This host's name, for the lock on the peer. */
  hostname: string;
  /** Uploads that may run at once. */
  upload: <T>(job: () => Promise<T>) => Promise<T>;
  clock: Clock;
  signal: AbortSignal;
  /** What is going on, for the progress display. */
  progress: (peer: Peer, doing: string) => void;
}

/** A look takes a second; a host that swaps takes longer. */
const lookMs = 30_000;
/** Making a key and three atomic writes; the executable's first start dominates. */
const applyMs = 60_000;
/** 110 MB at 1 MB/s. */
const uploadMs = 150_000;
/** A role reloads its certificate within a second of the change. */
const presentsWithinMs = 8_000;

const ports = { node: 8765, coordinator: 50055 } as const;

export async function deployPeer(peer: Peer, options: DeployOptions): Promise<PeerResult> {
  const result: PeerResult = {
    peer: peer.name,
    state: "unchanged",
    steps: [],
    error: undefined,
    next: undefined,
    roles: [],
  };
  try {
    await work(peer, options, result);
  } catch (error) {
    if (options.signal.aborted) throw error;
    result.state = error instanceof Unreachable ? "unreachable" : "failed";
    result.error = messageOf(error);
    result.next = error instanceof UserError ? error.next : undefined;
  }
  return result;
}

/** ssh could not connect, or the host did not answer. */
class Unreachable extends UserError {
  override name = "Unreachable";
}

async function work(peer: Peer, options: DeployOptions, result: PeerResult): Promise<void> {
  options.progress(peer, "looking");
  const transport = await transportOf(peer, options);
  const facts = await look(peer, transport, options);
  const names = namesFor(peer.dialled, facts, options.taken(peer));
  const present = certificatesThere(facts, options.ca, options.clock.now());
  const plan = peer.isSelf
    ? planSelf(facts, options.wanted)
    : planPeer(facts, present, options.wanted, [...names.hostnames, ...names.ips]);
  if ("problems" in plan) throw problemError(plan.problems);
  result.steps = plan.steps;
  if (plan.steps.length === 0) return;
  result.state = "changed";
  if (options.dryRun) return;
  const target: Target = { peer, transport, facts, options };
  const has = (kind: Step["kind"]) => plan.steps.some((step) => step.kind === kind);
  if (has("executable")) await pushExecutable(target);
  let fingerprint: string | undefined;
  if (has("certificate")) fingerprint = await installCertificate(target, names);
  else if (has("token")) await installToken(target);
  if (has("service")) await installService(target);
  if (has("executable")) await restartRoles(target, result);
  await dialRoles(target, fingerprint, result);
}

interface Target {
  peer: Peer;
  transport: Transport;
  facts: Facts;
  options: DeployOptions;
}

function problemError(problems: Problem[]): UserError {
  return new UserError(problems.map(({ what }) => what).join("; "), { next: problems[0]!.next });
}

/** The peer's own shell, or that of the container on it. */
async function transportOf(peer: Peer, options: DeployOptions): Promise<Transport> {
  if (peer.container === undefined) return peer.transport;
  const script = `PATH=$PATH:/usr/local/bin
for e in docker podman; do
  command -v $e >/dev/null || continue
  state=$($e inspect -f '{{.State.Running}}' "$name" 2>/dev/null) || continue
  echo "$e $state"
  exit
done`;
  const ran = await runOn(peer.transport, script, { name: peer.container }, options, lookMs);
  refuseUnreachable(peer, ran);
  const [, engine, running] = /^(docker|podman) (true|false)$/m.exec(ran.stdout) ?? [];
  if (engine === undefined) {
    throw new UserError(`there is no container "${peer.container}" on it that this user can see`, {
      next: "Look with: docker ps (as the same user); name another with --container-host PEER=NAME",
    });
  }
  if (running === "false") {
    throw new UserError(`the container "${peer.container}" does not run`, {
      next: `${engine} start ${peer.container}`,
    });
  }
  return inContainer(peer.transport, engine, peer.container);
}

/** Looks as the user who logs in, then, where asked for, as root. */
async function look(peer: Peer, transport: Transport, options: DeployOptions): Promise<Facts> {
  const plain = await lookAs(peer, transport, options, undefined);
  if (!options.elevated || peer.container !== undefined || peer.isSelf || plain.root === "is") {
    return plain;
  }
  const elevation = elevationOf(peer, plain, options);
  if (elevation === undefined) throw sudoError(plain, "", false);
  try {
    return { ...await lookAs(peer, transport, options, elevation), root: plain.root };
  } catch (error) {
    if (!(error instanceof CutOff)) throw error;
    throw sudoError(plain, error.said, options.sudoPassword !== undefined);
  }
}

/** The script did not come to its end. */
class CutOff extends UserError {
  override name = "CutOff";
  constructor(message: string, readonly said: string, next: string) {
    super(message, { next });
  }
}

async function lookAs(
  peer: Peer,
  transport: Transport,
  options: DeployOptions,
  elevation: Elevation,
): Promise<Facts> {
  const variables = { want_sum: options.wanted.binary === undefined ? "no" : "yes" };
  const ran = await runOn(transport, preflightScript, variables, options, lookMs, elevation);
  refuseUnreachable(peer, ran);
  if (ran.code === 124) throw new Unreachable(`it does not answer: ${ran.stderr}`);
  const facts = readFacts(ran.stdout);
  if (facts !== undefined) return facts;
  const said = lastLine(ran.stderr);
  throw new CutOff(
    `the look at it was cut off${said === "" ? "" : `: ${said}`}`,
    said,
    peer.sshHost === undefined ? "Run this again" : `ssh ${peer.sshHost} sh -c true`,
  );
}

function sudoError(facts: Facts, said: string, asked: boolean): UserError {
  if (facts.root === "none") {
    return new UserError(`"${facts.user}" has neither sudo nor doas there`, {
      next: "Log in as root or as another user with --ssh-user",
    });
  }
  if (asked) {
    return new UserError(`sudo refuses there: ${lastLine(said)}`, {
      next: "Check the password, and that the user may use sudo for everything",
    });
  }
  return new UserError(`sudo asks for a password of "${facts.user}" there`, {
    next: "Use --ask-sudo",
  });
}

function refuseUnreachable(peer: Peer, ran: Ran): void {
  if (ran.code !== 255 || peer.sshHost === undefined) return;
  const { what, next } = explainSsh(peer.sshHost, ran.stderr);
  throw new Unreachable(what, { next });
}

/** How a script becomes root, if it was asked for and is possible. */
function elevationOf(peer: Peer, { root }: Facts, options: DeployOptions): Elevation {
  if (!options.elevated || peer.container !== undefined || peer.isSelf) return undefined;
  if (root === "doas") return { by: "doas" };
  if (root === "sudo") return { by: "sudo" };
  if (root !== "password" || options.sudoPassword === undefined) return undefined;
  return { by: "sudo", password: options.sudoPassword };
}

async function pushExecutable(target: Target): Promise<void> {
  const { peer, transport, facts, options } = target;
  const { wanted, openBinary, upload, clock, signal } = options;
  options.progress(peer, "waiting to upload");
  const ran = await upload(async () => {
    options.progress(peer, "uploading the executable");
    const elevation = elevationOf(target.peer, target.facts, target.options);
    return await run(transport, executableScript, {
      variables: { bin: facts.bin, sha256: wanted.binary!.sha256 },
      input: await openBinary!(),
      ...(elevation === undefined ? {} : { elevation }),
      timeoutMs: uploadMs,
      clock,
      signal,
    });
  });
  expectInstalled(target, ran, "the executable");
  facts.agent = { path: `${facts.bin}/agent`, version: undefined, sha256: wanted.binary!.sha256 };
}

async function installCertificate(
  target: Target,
  names: { hostnames: string[]; ips: string[] },
): Promise<string> {
  const { peer, facts, options } = target;
  options.progress(peer, "installing the certificate");
  return facts.agent === undefined
    ? await installFiles(target, names)
    : await installRequest(target, names, facts.agent.path);
}

/** The peer makes its key; only the request and the answer travel. */
async function installRequest(
  target: Target,
  names: { hostnames: string[]; ips: string[] },
  agent: string,
): Promise<string> {
  const { peer, transport, facts, options } = target;
  const [hostname] = names.hostnames;
  const elevation = elevationOf(target.peer, target.facts, target.options);
  await using session = open(transport, requestScript, {
    variables: {
      config: facts.configRoot,
      tls: facts.tlsRoot,
      agent,
      by_host: options.hostname,
      force: options.wanted.force ? "yes" : "",
      hostname,
    },
    ...(elevation === undefined ? {} : { elevation }),
    timeoutMs: applyMs,
    clock: options.clock,
    signal: options.signal,
  });
  await session.until("csr<");
  const csr = await session.until("csr>");
  let files: PeerFiles | undefined;
  if (csr !== undefined) {
    files = await options.issue(csr, names);
    const parts = [files.cert, files.ca].map((text) => new TextEncoder().encode(text));
    const token = options.token;
    await session.send(`${parts[0]!.length} ${parts[1]!.length} ${token.length}\n`);
    for (const part of [...parts, token]) await session.send(part);
  }
  expectInstalled({ ...target, peer }, await session.end(), "the certificate");
  return files!.certificate.fingerprint;
}

/** A peer without `agent`: its key is made here and travels inside the ssh connection. */
async function installFiles(
  target: Target,
  names: { hostnames: string[]; ips: string[] },
): Promise<string> {
  const { transport, facts, options } = target;
  const files = await options.issue(undefined, names);
  const list = (values: string[]) => `[${values.map((value) => JSON.stringify(value)).join(", ")}]`;
  const yaml = [
    "enabled: true",
    "auto_on_non_loopback: true",
    "san:",
    `  hostnames: ${list(files.certificate.hostnames)}`,
    `  ips: ${list(files.certificate.ips)}`,
    "",
  ].join("\n");
  const encode = (text: string) => new TextEncoder().encode(text);
  const parts = [files.key!, files.cert, files.ca, files.bundle, yaml].map(encode);
  const elevation = elevationOf(target.peer, target.facts, target.options);
  await using session = open(transport, filesScript, {
    variables: {
      config: facts.configRoot,
      tls: facts.tlsRoot,
      by_host: options.hostname,
      force: options.wanted.force ? "yes" : "",
      key_bytes: parts[0]!.length,
      cert_bytes: parts[1]!.length,
      ca_bytes: parts[2]!.length,
      bundle_bytes: parts[3]!.length,
      yaml_bytes: parts[4]!.length,
      token_bytes: options.token.length,
    },
    ...(elevation === undefined ? {} : { elevation }),
    timeoutMs: applyMs,
    clock: options.clock,
    signal: options.signal,
  });
  for (const part of [...parts, options.token]) await session.send(part);
  expectInstalled(target, await session.end(), "the certificate");
  return files.certificate.fingerprint;
}

async function installToken(target: Target): Promise<void> {
  const { transport, facts, options } = target;
  const elevation = elevationOf(target.peer, target.facts, target.options);
  const ran = await run(transport, tokenScript, {
    variables: {
      config: facts.configRoot,
      by_host: options.hostname,
      token_bytes: options.token.length,
    },
    input: options.token,
    ...(elevation === undefined ? {} : { elevation }),
    timeoutMs: applyMs,
    clock: options.clock,
    signal: options.signal,
  });
  expectInstalled(target, ran, "the token");
}

async function installService(target: Target): Promise<void> {
  const { peer, transport, facts, options } = target;
  const { service } = options.wanted;
  options.progress(peer, `starting agent ${service}`);
  if (facts.agent === undefined) {
    throw new UserError(`there is no agent on it to run as a service`, {
      next: "Add --push-binary",
    });
  }
  const elevation = elevationOf(target.peer, target.facts, target.options);
  const script = `"$agent" service install "$role" ${
    options.serviceArgs.map((_, at) => `"$arg${at}"`).join(" ")
  } && echo installed`;
  const args = options.serviceArgs.map((arg, at) => [`arg${at}`, arg] as const);
  const ran = await run(transport, script, {
    variables: { agent: facts.agent.path, role: service, ...Object.fromEntries(args) },
    ...(elevation === undefined ? {} : { elevation }),
    timeoutMs: applyMs,
    clock: options.clock,
    signal: options.signal,
  });
  expectInstalled(target, ran, `the service of agent ${service}`);
  facts.roles.push(service!);
}

/** Roles that ran with the former executable go on with the new one. */
async function restartRoles(target: Target, result: PeerResult): Promise<void> {
  const { peer, facts, transport, options } = target;
  for (const role of facts.roles.filter((role) => role !== options.wanted.service)) {
    options.progress(peer, `restarting agent ${role}`);
    const script = `"$agent" service status "$role" >/dev/null || { echo manual; exit 0; }
"$agent" service restart "$role" >/dev/null && echo installed`;
    const elevation = elevationOf(peer, facts, options);
    const variables = { agent: facts.agent!.path, role };
    const ran = await runOn(transport, script, variables, options, applyMs, elevation);
    if (ran.stdout.startsWith("manual")) {
      result.next = `agent ${role} still runs with the former executable: restart it`;
    } else expectInstalled(target, ran, `the restart of agent ${role}`);
  }
}

/** Done means dialled: what runs on the peer has to present the new certificate. */
async function dialRoles(
  { peer, facts, options }: Target,
  fingerprint: string | undefined,
  result: PeerResult,
): Promise<void> {
  if (fingerprint === undefined) return;
  const serving = (["node", "coordinator"] as const).filter((role) => facts.roles.includes(role));
  for (const role of serving) {
    options.progress(peer, `dialling agent ${role}`);
    const port = ports[role];
    const end = options.clock.monotonic() + presentsWithinMs;
    let found: string | undefined;
    for (;;) {
      found = await options.presented(peer, `127.0.0.1:${port}`);
      if (found === fingerprint || options.clock.monotonic() > end) break;
      await options.clock.sleep(300, options.signal);
    }
    const presents = found === fingerprint;
    result.roles.push({ role, address: `${peer.name}:${port}`, presents });
    if (!presents) {
      result.next = found === undefined
        ? `agent ${role} does not answer on port ${port} there: restart it`
        : `agent ${role} still presents another certificate: restart it`;
    }
  }
  if (facts.roles.length === 0) {
    result.next = `Start it there, for example with: agent node -H 0.0.0.0 --cluster NAME`;
  }
}

async function runOn(
  transport: Transport,
  script: string,
  variables: Record<string, string>,
  { clock, signal }: DeployOptions,
  timeoutMs: number,
  elevation?: Elevation,
): Promise<Ran> {
  const how = elevation === undefined ? {} : { elevation };
  return await run(transport, script, { variables, timeoutMs, clock, signal, ...how });
}

/** Turns the exit code of a changing script into an error with the cause. */
function expectInstalled({ peer }: Target, ran: Ran, what: string): void {
  if (ran.code === 0 && ran.stdout.includes("installed\n")) return;
  refuseUnreachable(peer, ran);
  const said = ran.stderr.trim().split("\n").map((line) => line.replace(/^agent: /, ""));
  const next = said.findLast((line) => line.startsWith("  next: "))?.slice(8);
  const reason = said.findLast((line) => line.trim() !== "" && !line.startsWith("  next: "));
  throw new UserError(
    `could not install ${what}: ${reason ?? `the script ended with exit code ${ran.code}`}`,
    { next: next ?? "Run this again: what was begun is cleaned up, and is completed then" },
  );
}

function lastLine(text: string): string {
  return text.trim().split("\n").at(-1)?.trim() ?? "";
}
