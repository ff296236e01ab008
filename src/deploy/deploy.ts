/**
 * `tls deploy`: from bare sshd to a member of the cluster.
 *
 * For each peer: look (one script, nothing is changed), compare with what is wanted, change only what
 * differs, then dial the roles that run there and see whether they present the new certificate. A
 * peer ends as `unchanged`, `changed`, `failed` or `unreachable`, with one line that says why.
 */
import { messageOf, UserError } from "../base/errors.ts";
import {
  installCertificate,
  installService,
  installToken,
  pushExecutable,
  restartRoles,
} from "./install.ts";
import { look, transportOf } from "./look.ts";
import {
  type DeployOptions,
  type Peer,
  type PeerResult,
  type Target,
  Unreachable,
} from "./peer.ts";
import { certificatesThere } from "./peer_certificates.ts";
import { namesFor, planPeer, planSelf, type Problem, type Step } from "./plan.ts";

/** A role reloads its certificate within two seconds of the change. */
const presentsWithinMs = 8_000;
const lookEveryMs = 300;

/** Where roles listen unless they are configured otherwise. */
const ports = { node: 8765, coordinator: 50055 } as const;

/** Deploys one peer. Never throws for what goes wrong there, unless the signal is aborted. */
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
    await bringUpToDate(peer, options, result);
  } catch (error) {
    if (options.signal.aborted) throw error;
    result.state = error instanceof Unreachable ? "unreachable" : "failed";
    result.error = messageOf(error);
    result.next = error instanceof UserError ? error.next : undefined;
  }
  return result;
}

async function bringUpToDate(
  peer: Peer,
  options: DeployOptions,
  result: PeerResult,
): Promise<void> {
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
  const target: Target = { peer, transport, facts, present, options };
  const has = (kind: Step["kind"]) => plan.steps.some((step) => step.kind === kind);
  if (has("executable")) await pushExecutable(target);
  let fingerprint: string | undefined;
  if (has("certificate")) fingerprint = await installCertificate(target, names);
  else if (has("token")) await installToken(target);
  if (has("service")) await installService(target);
  if (has("executable")) await restartRoles(target, result);
  if (fingerprint !== undefined) await dialRoles(target, fingerprint, result);
}

function problemError(problems: Problem[]): UserError {
  return new UserError(problems.map(({ what }) => what).join("; "), { next: problems[0]!.next });
}

/** Checks that the roles on the peer present the new certificate. */
async function dialRoles(
  { peer, facts, options }: Target,
  fingerprint: string,
  result: PeerResult,
): Promise<void> {
  if (facts.roles.length === 0) {
    result.next ??= "Start a role there, for example with: agent node -H 0.0.0.0 --cluster NAME";
    return;
  }
  // The ports of a container may be mapped to any others of its host.
  if (peer.sshHost === undefined || peer.container !== undefined) return;
  const serving = (["node", "coordinator"] as const).filter((role) => facts.roles.includes(role));
  for (const role of serving) {
    options.progress(peer, `dialling agent ${role}`);
    const port = ports[role];
    const found = await presentedAt(peer.sshHost, `127.0.0.1:${port}`, fingerprint, options);
    const presents = found === fingerprint;
    result.roles.push({ role, address: `${peer.name}:${port}`, presents });
    if (presents) continue;
    result.next = found === undefined
      ? `agent ${role} does not answer with TLS on port ${port} there: restart it, unless it uses ` +
        "another port"
      : `agent ${role} still presents another certificate: restart it`;
  }
}

/** The certificate that a port presents: asks until it is the wanted one, or the time is over. */
async function presentedAt(
  host: string,
  address: string,
  wanted: string,
  { presented, clock, signal }: DeployOptions,
): Promise<string | undefined> {
  const end = clock.monotonic() + presentsWithinMs;
  for (;;) {
    const found = await presented(host, address);
    if (found === wanted || clock.monotonic() > end) return found;
    await clock.sleep(lookEveryMs, signal);
  }
}
