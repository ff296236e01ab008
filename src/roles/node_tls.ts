import { messageOf, Refusal, UsageError, UserError } from "../base/errors.ts";
import type { Env } from "../base/env.ts";
import { appearance } from "../base/fs/appearance.ts";
import { every } from "../base/lifetimes.ts";
import { isLoopback } from "../config/addresses.ts";
import type { Config } from "../config/schema.ts";
import { identityFiles } from "../pki/directory/identity_files.ts";
import { readTlsSettings, tlsPaths, tlsRoot, type TlsSettings } from "../pki/directory/settings.ts";

/** Files of a certificate and its key. */
export interface PairFiles {
  certFile: string;
  keyFile: string;
}

/** How a node serves and proves itself; worked out in the main thread, which may read config.yaml. */
export interface NodeTls {
  /** Undefined: plain HTTP. */
  serve: (PairFiles & { from: string }) | undefined;
  /**
   * The TLS directory's own pair, where another is served: for peers that trust only our CA. It may be
   * missing, and come later.
   */
  other: PairFiles | undefined;
  /** The CA bundle. While it is missing, certificates of callers are not asked for. */
  bundle: string;
  verifyHostname: boolean;
  tokenFile: string;
  nodeIdFile: string;
}

/**
 * Decides whether a node serves HTTPS, and with what: by flag, else by `enabled` of the TLS directory,
 * else beyond loopback where a server certificate exists.
 *
 * @throws {UsageError} where TLS is wanted and there is nothing to serve it with.
 * @throws {Refusal} of plain HTTP beyond loopback.
 */
export async function nodeTls(
  config: Config,
  env: Pick<Env, "configRoot" | "variable">,
): Promise<NodeTls> {
  const settings = await readTlsSettings(tlsRoot(env));
  const { token, nodeId } = identityFiles(env);
  const serve = servedPair(config, settings);
  const { serverCert: certFile, serverKey: keyFile } = settings;
  return {
    serve,
    other: serve === undefined || serve.certFile === certFile ? undefined : { certFile, keyFile },
    bundle: settings.caBundle,
    verifyHostname: settings.verifyHostname,
    tokenFile: token,
    nodeIdFile: nodeId,
  };
}

/** What a running node does not take over by itself. */
export interface TlsChange {
  reason: string;
  next: string;
}

/** The command for a service; without one its user knows how it was started. */
const restart = "agent service restart node";

/** How soon a change is noticed that needs a restart. */
const lookMs = 2_000;

/**
 * Tells the role, which may not read config.yaml: first the files, then each change that it does not
 * take over by itself, which the log says too.
 */
export async function tellTls(
  port: MessagePort,
  config: Config,
  env: Pick<Env, "configRoot" | "variable" | "clock" | "log" | "signal">,
): Promise<void> {
  let files = await decisiveFiles(env);
  let seen = appearance(files);
  const started = await nodeTls(config, env);
  port.postMessage(started);
  let said: TlsChange | undefined;
  await every({
    periodMs: lookMs,
    coarse: true,
    clock: env.clock,
    signal: env.signal,
    failed: (error) =>
      env.log.warn("could not look at the TLS directory", { reason: messageOf(error) }),
  }, async () => {
    const now = appearance(files);
    if (now === seen) return;
    files = await decisiveFiles(env);
    const change = await tlsChange(started, config, env);
    seen = now;
    if (change?.reason === said?.reason) return;
    said = change;
    port.postMessage(change);
    if (change !== undefined) env.log.warn(change.reason, { next: change.next });
  });
}

/** What `nodeTls` looks at. */
async function decisiveFiles(env: Pick<Env, "configRoot" | "variable">): Promise<string[]> {
  const root = tlsRoot(env);
  try {
    const { config, serverCert, serverKey } = await readTlsSettings(root);
    return [config, serverCert, serverKey];
  } catch {
    return [tlsPaths(root).config]; // `tlsChange` says what is wrong with it.
  }
}

export interface ReceivedTls {
  tls: NodeTls;
  change: () => TlsChange | undefined;
}

/** What `tellTls` tells, in the role. */
export function receiveTls(port: MessagePort, signal: AbortSignal): Promise<ReceivedTls> {
  let change: TlsChange | undefined;
  return new Promise((resolve, reject) => {
    port.onmessage = ({ data: tls }) => {
      // What was undefined comes as null.
      port.onmessage = ({ data }) => change = data ?? undefined;
      resolve({ tls, change: () => change });
    };
    const stop = () => {
      port.close();
      reject(signal.reason);
    };
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

/**
 * What has changed in the TLS directory since a node started, where only a restart takes it over: the
 * files themselves are read again while it runs.
 */
async function tlsChange(
  started: NodeTls,
  config: Config,
  env: Pick<Env, "configRoot" | "variable">,
): Promise<TlsChange | undefined> {
  let now: NodeTls;
  try {
    now = await nodeTls(config, env);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    const reason = `With the TLS directory as it is now, this node would not start again: ` +
      error.message;
    return { reason, next: error.next ?? "agent tls status" };
  }
  const change = (reason: string) => ({ reason, next: restart });
  if (started.serve === undefined) {
    return now.serve === undefined
      ? undefined
      : change("TLS was switched on for this host, and this node still serves plain HTTP");
  }
  if (now.serve === undefined) {
    return change("TLS was switched off for this host, and this node still serves HTTPS");
  }
  const isSame = JSON.stringify({ ...now, serve: { ...now.serve, from: "" } }) ===
    JSON.stringify({ ...started, serve: { ...started.serve, from: "" } });
  return isSame
    ? undefined
    : change("The TLS directory's config.yaml names other files or rules than this node uses");
}

function servedPair({ values, origins }: Config, settings: TlsSettings): NodeTls["serve"] {
  const certFile = values["node.tls_cert"];
  const keyFile = values["node.tls_key"];
  const wanted = values["node.tls"];
  if ((certFile === undefined) !== (keyFile === undefined)) {
    const [given, missing] = certFile === undefined
      ? ["--tls-key", "--tls-cert"]
      : ["--tls-cert", "--tls-key"];
    throw new UsageError(`${given} is set, but ${missing} is not; a certificate needs its key`, {
      next: `Set ${missing} too`,
    });
  }
  if (certFile !== undefined && keyFile !== undefined) {
    if (wanted === false) {
      throw new UsageError("--no-tls and --tls-cert contradict each other", {
        next: "Leave one of them out",
      });
    }
    return { certFile, keyFile, from: origins["node.tls_cert"] };
  }
  const own = directoryPair(settings);
  const far = !isLoopback(values["node.host"]);
  if (wanted === true || (wanted === undefined && settings.enabled)) {
    if (own !== undefined) {
      return { ...own, from: wanted === true ? origins["node.tls"] : "tls directory" };
    }
    throw new UsageError(`TLS is on, but there is no certificate "${settings.serverCert}"`, {
      next: "agent tls init (on the CA's host), or agent tls install (on the others)",
    });
  }
  if (wanted === undefined && far && settings.autoOnNonLoopback && own !== undefined) {
    return { ...own, from: "tls directory" };
  }
  if (far && !values["node.insecure"]) {
    throw new Refusal(`Refused to listen on "${values["node.host"]}" without TLS`, {
      code: "plaintext_refused",
      next: "Set up TLS with agent tls init, or accept plain HTTP with --insecure",
    });
  }
  return undefined;
}

function directoryPair({ serverCert, serverKey }: TlsSettings): PairFiles | undefined {
  if (!isFile(serverCert) || !isFile(serverKey)) return undefined;
  return { certFile: serverCert, keyFile: serverKey };
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false; // The role that reads it says why it cannot.
  }
}
