/** The steps that change a peer. Each is one script: it is done as a whole, or can be run again. */
import { formatDuration } from "../base/durations.ts";
import { UserError } from "../base/errors.ts";
import { shellQuoted } from "../base/shell_quoted.ts";
import type { PeerFiles } from "../pki/operations/issue_peer.ts";
import {
  cleanupScript,
  executableScript,
  filesScript,
  requestScript,
  settingsScript,
  tokenScript,
} from "./change_scripts.ts";
import { elevationOf, refuseUnreachable, runScript, scriptOptions, type Target } from "./peer.ts";
import { open, type Ran } from "./remote.ts";

/** Making a key and three atomic writes; the executable's first start takes most of it. */
const installMs = 60_000;
/** A worker stops within 60 s and starts within 30 s. */
const serviceMs = 120_000;
/** 110 MB at 1 Mbit/s. A host that has gone is noticed by ssh, within 15 s. */
const uploadMs = 15 * 60_000;

export interface PeerNames {
  hostnames: string[];
  ips: string[];
}

export async function pushExecutable(target: Target): Promise<void> {
  const { peer, facts, options } = target;
  const { wanted, openBinary, upload } = options;
  const { sha256 } = wanted.binary!;
  options.progress(peer, "waiting to upload");
  const ran = await upload(async () => {
    options.progress(peer, "uploading the executable");
    return await runScript(target, executableScript, {
      variables: { bin: facts.bin, sha256 },
      input: await openBinary!(),
      timeoutMs: uploadMs,
    });
  });
  expectInstalled(target, ran, "install the executable");
  facts.agent = { path: `${facts.bin}/agent`, version: undefined, sha256 };
}

/** @returns the fingerprint of the new certificate. */
export async function installCertificate(target: Target, names: PeerNames): Promise<string> {
  const { peer, facts, options } = target;
  options.progress(peer, "installing the certificate");
  return facts.agent === undefined
    ? await installFiles(target, names)
    : await installRequest(target, names, facts.agent.path);
}

const encode = (text: string) => new TextEncoder().encode(text);

/** The peer makes its key; only the request and the answer travel. */
async function installRequest(target: Target, names: PeerNames, agent: string): Promise<string> {
  const { transport, facts, present, options } = target;
  const { wanted, token } = options;
  const isRenewed = wanted.previousCas.includes(present.caFingerprint ?? "");
  const how = scriptOptions(target, installMs, {
    config: facts.configRoot,
    tls: facts.tlsRoot,
    agent,
    by_host: options.hostname,
    force: wanted.force ? "yes" : "",
    ca_renewed: isRenewed && !wanted.force ? "yes" : "",
    hostname: names.hostnames[0],
  });
  await using session = open(transport, requestScript, how);
  await session.until("csr<");
  const csr = await session.until("csr>");
  let files: PeerFiles | undefined;
  if (csr !== undefined) {
    files = await options.issue(csr, names);
    const parts = [encode(files.cert), encode(files.ca), token];
    await session.send(`${parts.map(({ length }) => length).join(" ")}\n`);
    for (const part of parts) await session.send(part);
  }
  expectInstalled(target, await session.end(), "install the certificate");
  return files!.certificate.fingerprint;
}

/** A peer without `agent`: its key is made here and travels inside the ssh connection. */
async function installFiles(target: Target, names: PeerNames): Promise<string> {
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
  const parts = [files.key!, files.cert, files.ca, files.bundle, yaml].map(encode);
  const how = scriptOptions(target, installMs, {
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
  });
  await using session = open(transport, filesScript, how);
  for (const part of [...parts, options.token]) await session.send(part);
  expectInstalled(target, await session.end(), "install the certificate");
  return files.certificate.fingerprint;
}

export async function installToken(target: Target): Promise<void> {
  const { peer, facts, options } = target;
  options.progress(peer, "installing the token");
  const ran = await runScript(target, tokenScript, {
    variables: {
      config: facts.configRoot,
      by_host: options.hostname,
      token_bytes: options.token.length,
    },
    input: options.token,
    timeoutMs: installMs,
  });
  expectInstalled(target, ran, "install the token");
}

/** Removes what a run that was cut off left: its lock and temporary files, among them a key. */
export async function cleanUp(target: Target): Promise<void> {
  const { facts, options } = target;
  const variables = { config: facts.configRoot, by_host: options.hostname };
  const ran = await runScript(target, cleanupScript, { variables, timeoutMs: installMs });
  expectInstalled(target, ran, "clean up");
}

/** TLS for gRPC, in the configuration file. */
export async function installSettings(target: Target): Promise<void> {
  const { facts, options } = target;
  const variables = {
    config: facts.configRoot,
    agent: facts.agent!.path,
    by_host: options.hostname,
  };
  const ran = await runScript(target, settingsScript, { variables, timeoutMs: installMs });
  expectInstalled(target, ran, "write the settings");
}

export async function installService(target: Target): Promise<void> {
  const { peer, options } = target;
  const { wanted, serviceArgs, drainMs } = options;
  const service = wanted.service!;
  options.progress(peer, `starting agent ${service}`);
  const words = serviceArgs.map((_, at) => `"$arg${at}"`).join(" ");
  const script =
    `"$agent" service install "$role" --drain "$drain" ${words} >/dev/null && echo installed`;
  const args = serviceArgs.map((arg, at) => [`arg${at}`, arg] as const);
  const ran = await runScript(target, script, {
    variables: { ...roleVariables(target, service), ...Object.fromEntries(args) },
    timeoutMs: serviceMs + drainMs,
  });
  expectInstalled(target, ran, `start the service of agent ${service}`);
}

export async function restartService(target: Target, role: string): Promise<void> {
  const { peer, facts, options } = target;
  const waits = role === "worker" && facts.roles.includes(role) && options.drainMs > 0;
  options.progress(peer, `restarting agent ${role}${waits ? " when its tasks have ended" : ""}`);
  const script = `"$agent" service restart "$role" --drain "$drain" >/dev/null && echo installed`;
  const ran = await runScript(target, script, {
    variables: roleVariables(target, role),
    timeoutMs: serviceMs + options.drainMs,
  });
  expectInstalled(target, ran, `restart agent ${role}`);
}

function roleVariables({ facts, options }: Target, role: string) {
  return { agent: facts.agent!.path, role, drain: formatDuration(options.drainMs) };
}

/** The command that brings the former executable back. */
export function restoreCommand({ peer, facts, options }: Target, roles: string[]): string {
  const agent = shellQuoted(facts.agent!.path);
  const elevation = elevationOf(peer, facts, options);
  const become = elevation === undefined ? "" : `${elevation.by} `;
  const line = [
    `${become}mv ${shellQuoted(`${facts.agent!.path}.previous`)} ${agent}`,
    ...roles.map((role) => `${become}${agent} service restart ${role}`),
  ].join(" && ");
  if (peer.sshHost === undefined) return line;
  const user = options.sshUser === undefined ? "" : `-l ${options.sshUser} `;
  const terminal = elevation?.by === "sudo" && elevation.password !== undefined ? "-t " : "";
  return `ssh ${terminal}${user}${peer.sshHost} ${shellQuoted(line)}`;
}

/** Turns the exit code of a changing script into an error with the cause. */
function expectInstalled({ peer }: Target, ran: Ran, doing: string): void {
  if (ran.code === 0 && ran.stdout.includes("installed\n")) return;
  refuseUnreachable(peer, ran);
  const printed = ran.stderr.trim().split("\n").map((line) => line.replace(/^agent: /, ""));
  const next = printed.findLast((line) => line.startsWith("  next: "))?.slice(8);
  const reason = printed.findLast((line) => line.trim() !== "" && !line.startsWith("  next: "));
  throw new UserError(
    `could not ${doing}: ${reason ?? `the script ended with exit code ${ran.code}`}`,
    { next: next ?? "Run this again: it cleans up what is unfinished, and completes it" },
  );
}
