import { Refusal, UsageError } from "../base/errors.ts";
import type { Env } from "../base/env.ts";
import { isLoopback } from "../config/addresses.ts";
import type { Config } from "../config/schema.ts";
import { identityFiles } from "../pki/directory/identity_files.ts";
import { readTlsSettings, tlsRoot, type TlsSettings } from "../pki/directory/settings.ts";

/** Files of a certificate and its key. */
export interface PairFiles {
  certFile: string;
  keyFile: string;
}

/** How a node serves and proves itself; worked out in the main thread, which may read config.yaml. */
export interface NodeTls {
  /** Undefined: plain HTTP. */
  serve: (PairFiles & { from: string }) | undefined;
  /** The TLS directory's own pair, where another is served: for peers that trust only our CA. */
  other: PairFiles | undefined;
  /** The CA bundle, where there is one; without it certificates of callers are not asked for. */
  bundle: string | undefined;
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
  const own = directoryPair(settings);
  return {
    serve,
    other: serve !== undefined && serve.certFile !== own?.certFile ? own : undefined,
    bundle: isFile(settings.caBundle) ? settings.caBundle : undefined,
    verifyHostname: settings.verifyHostname,
    tokenFile: token,
    nodeIdFile: nodeId,
  };
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
