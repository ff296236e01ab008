/**
 * `tls deploy`: from bare sshd to a member of the cluster.
 *
 * For each peer: look (one script, nothing is changed), compare with what is wanted, change only what
 * differs, then dial the roles that run there and see whether they present the new certificate. A
 * peer ends as `unchanged`, `changed`, `failed` or `unreachable`, with one line that says why.
 */
import { messageOf, UserError } from "../base/errors.ts";
import {
  cleanUp,
  installCertificate,
  installService,
  installSettings,
  installToken,
  type PeerNames,
  pushExecutable,
  restartService,
  restoreCommand,
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
import { type RoleSettings, settingsOfRoles } from "./role_settings.ts";

/** A role reloads its certificate within two seconds of the change. */
const presentsWithinMs = 8_000;
const lookEveryMs = 300;

/** As long as a worker may need to reach its coordinator again. */
const healthyWithinMs = 30_000;

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
  const isFirstExecutable = facts.agent === undefined;
  const target: Target = { peer, transport, facts, present, options };
  const has = (kind: Step["kind"]) => plan.steps.some((step) => step.kind === kind);
  if (has("executable")) await pushExecutable(target);
  try {
    await changeRest(target, names, plan.steps, result);
  } catch (error) {
    if (options.signal.aborted || !has("executable") || isFirstExecutable) throw error;
    const roles = plan.steps.flatMap(({ role }) => role ?? []);
    throw new UserError(messageOf(error), {
      next: `${error instanceof UserError && error.next ? `${error.next}; or go` : "Go"} back to ` +
        `the former executable: ${restoreCommand(target, roles)}`,
      cause: error,
    });
  }
}

/** Everything but the executable. */
async function changeRest(
  target: Target,
  names: PeerNames,
  steps: Step[],
  result: PeerResult,
): Promise<void> {
  const { facts, options } = target;
  const has = (kind: Step["kind"]) => steps.some((step) => step.kind === kind);
  let fingerprint: string | undefined;
  if (has("certificate")) fingerprint = await installCertificate(target, names);
  else if (has("token")) await installToken(target);
  if (has("settings")) await installSettings(target);
  if (has("cleanup")) await cleanUp(target);
  const started: string[] = [];
  if (has("service")) {
    await installService(target);
    started.push(options.wanted.service!);
  }
  for (const { role } of steps) {
    if (role === undefined) continue;
    await restartService(target, role);
    started.push(role);
  }
  const running = [...new Set([...facts.roles, ...started])];
  const byHand = running.filter((role) =>
    !started.includes(role) && (has("executable") || facts.formerRoles.includes(role))
  );
  if (byHand.length > 0) {
    result.next = `${
      byHand.map((role) => `agent ${role}`).join(" and ")
    } still runs with the former ` +
      "executable: restart it";
  }
  if (running.length === 0) {
    result.next ??= "Start a role there, for example with: agent node -H 0.0.0.0 --cluster NAME";
    return;
  }
  const dials = fingerprint !== undefined;
  const waits = options.waitsForHealth && started.length > 0;
  if (!dials && !waits) return;
  const settings = await settingsOfRoles(target, running);
  if (dials) await dialRoles(target, settings, fingerprint!, result);
  if (waits) await waitForHealth(target, settings, started);
}

function problemError(problems: Problem[]): UserError {
  return new UserError(problems.map(({ what }) => what).join("; "), { next: problems[0]!.next });
}

/** Checks that the roles on the peer present the new certificate. */
async function dialRoles(
  { peer, options }: Target,
  settings: ReadonlyMap<string, RoleSettings>,
  fingerprint: string,
  result: PeerResult,
): Promise<void> {
  // The ports of a container may be mapped to any others of its host.
  if (peer.sshHost === undefined || peer.container !== undefined) return;
  for (const [role, { address, usesTlsDirectory }] of settings) {
    if (address === undefined || !usesTlsDirectory) continue;
    options.progress(peer, `dialling agent ${role}`);
    const found = await presentedAt(peer.sshHost, address, fingerprint, options);
    const presents = found === fingerprint;
    const port = address.slice(address.lastIndexOf(":") + 1);
    result.roles.push({ role, address: `${peer.name}:${port}`, presents });
    if (presents) continue;
    result.next = found === undefined
      ? `agent ${role} does not answer with TLS on port ${port} there: restart it`
      : `agent ${role} still presents another certificate: restart it`;
  }
}

/** Waits until the roles that were started are ready by their own account. */
async function waitForHealth(
  { peer, options }: Target,
  settings: ReadonlyMap<string, RoleSettings>,
  started: string[],
): Promise<void> {
  const { unready, clock, signal } = options;
  if (peer.sshHost === undefined || peer.container !== undefined) return;
  for (const role of started) {
    const health = settings.get(role)?.health;
    if (health === undefined) continue;
    options.progress(peer, `waiting until agent ${role} is healthy`);
    const end = clock.monotonic() + healthyWithinMs;
    for (;;) {
      const trouble = await unready(peer.sshHost, health);
      if (trouble === undefined) break;
      if (clock.monotonic() > end) {
        throw new UserError(
          `agent ${role} runs, but is not healthy after ${healthyWithinMs / 1000} s: ${trouble}`,
        );
      }
      await clock.sleep(lookEveryMs, signal);
    }
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
