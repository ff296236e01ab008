/** The steps that change a peer. Each is one script: it is done as a whole, or can be run again. */
import { UserError } from "../base/errors.ts";
import type { PeerFiles } from "../pki/operations/issue_peer.ts";
import { executableScript, filesScript, requestScript, tokenScript } from "./change_scripts.ts";
import {
  type PeerResult,
  refuseUnreachable,
  runScript,
  scriptOptions,
  type Target,
} from "./peer.ts";
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
  expectInstalled(target, ran, "the executable");
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
  expectInstalled(target, await session.end(), "the certificate");
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
  expectInstalled(target, await session.end(), "the certificate");
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
  expectInstalled(target, ran, "the token");
}

export async function installService(target: Target): Promise<void> {
  const { peer, facts, options } = target;
  const { service } = options.wanted;
  options.progress(peer, `starting agent ${service}`);
  const words = options.serviceArgs.map((_, at) => `"$arg${at}"`).join(" ");
  const script = `"$agent" service install "$role" ${words} >/dev/null && echo installed`;
  const args = options.serviceArgs.map((arg, at) => [`arg${at}`, arg] as const);
  const ran = await runScript(target, script, {
    variables: { agent: facts.agent!.path, role: service, ...Object.fromEntries(args) },
    timeoutMs: serviceMs,
  });
  expectInstalled(target, ran, `the service of agent ${service}`);
  facts.roles.push(service!);
}

/** Restarts roles that ran with the previous executable, if they run as services. */
export async function restartRoles(target: Target, result: PeerResult): Promise<void> {
  const { peer, facts, options } = target;
  for (const role of facts.roles.filter((role) => role !== options.wanted.service)) {
    options.progress(peer, `restarting agent ${role}`);
    const script = `"$agent" service status "$role" >/dev/null || { echo manual; exit 0; }
"$agent" service restart "$role" >/dev/null && echo installed`;
    const variables = { agent: facts.agent!.path, role };
    const ran = await runScript(target, script, { variables, timeoutMs: serviceMs });
    if (ran.stdout.startsWith("manual")) {
      result.next = `agent ${role} still runs with the previous executable: restart it`;
    } else expectInstalled(target, ran, `the restart of agent ${role}`);
  }
}

/** Turns the exit code of a changing script into an error with the cause. */
function expectInstalled({ peer }: Target, ran: Ran, what: string): void {
  if (ran.code === 0 && ran.stdout.includes("installed\n")) return;
  refuseUnreachable(peer, ran);
  const printed = ran.stderr.trim().split("\n").map((line) => line.replace(/^agent: /, ""));
  const next = printed.findLast((line) => line.startsWith("  next: "))?.slice(8);
  const reason = printed.findLast((line) => line.trim() !== "" && !line.startsWith("  next: "));
  throw new UserError(
    `could not install ${what}: ${reason ?? `the script ended with exit code ${ran.code}`}`,
    { next: next ?? "Run this again: it cleans up what is unfinished, and completes it" },
  );
}
