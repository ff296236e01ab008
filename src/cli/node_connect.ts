import type { Env } from "../base/env.ts";
import { Refusal, UserError } from "../base/errors.ts";
import { joinHost } from "../base/address.ts";
import { isLoopback } from "../config/addresses.ts";
import type { Config } from "../config/schema.ts";
import type { NodeClient } from "../mesh/node_client.ts";
import { readTlsSettings, tlsPaths, tlsRoot } from "../pki/directory/settings.ts";
import { parseCertificates, readSmallText } from "../pki/x509/inspect.ts";
import { type Grants, noGrants } from "../sandbox/grants.ts";

/** The settings of every command that calls the REST API of a node. */
export const nodeSettings = { config: ["server", "node", "log"] } as const;

/** The address of the node, the token, and what its certificate is verified with. */
export async function nodeClientGrants({ config, env }: Context): Promise<Grants> {
  const root = tlsRoot(env);
  const { caBundle } = await readTlsSettings(root);
  const { hostname, port, protocol } = nodeUrl(config);
  return {
    ...noGrants,
    read: [tokenFile(config), tlsPaths(root).config, caBundle],
    net: [joinHost(bare(hostname), Number(port || (protocol === "https:" ? 443 : 80)))],
  };
}

interface Context {
  config: Config;
  env: Pick<Env, "configRoot" | "variable" | "clock">;
}

/** Lends the node that `server.url` names until `use` settles. */
export async function withNode<T>(
  context: Context,
  use: (node: NodeClient) => Promise<T>,
): Promise<T> {
  const client = await openNode(context);
  try {
    return await use(client);
  } finally {
    client[Symbol.dispose]();
  }
}

/**
 * Prepares to dial the node that `server.url` names.
 *
 * @throws {Refusal} where the token would be sent over a network without TLS.
 */
export async function openNode({ config, env }: Context): Promise<NodeClient> {
  const url = nodeUrl(config);
  const [{ nodeClient }, { loadToken }] = await Promise.all([
    import("../mesh/node_client.ts"),
    import("../mesh/identity.ts"),
  ]);
  const secure = url.protocol === "https:";
  if (!secure && !isLoopback(bare(url.hostname)) && !config.values["node.insecure"]) {
    throw new Refusal(`Refused to send the token to "${url.origin}" without TLS`, {
      code: "plaintext_refused",
      next: "Use https:// in server.url, or accept plain HTTP with node.insecure=true",
    });
  }
  const token = loadToken(tokenFile(config));
  return nodeClient({
    url: url.origin,
    token: () => token,
    trust: secure ? await trustOf(env) : undefined,
    clock: env.clock,
  });
}

async function trustOf(env: Context["env"]) {
  const { caBundle, verifyHostname } = await readTlsSettings(tlsRoot(env));
  try {
    const ca = readSmallText(caBundle);
    return { pair: undefined, ca, roots: parseCertificates(ca, caBundle), verifyHostname };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`There is no CA to verify the node with: ${error.message}`, {
      code: "no_ca",
      next: "agent tls import-ca ca.crt (the CA of the node), or agent tls install",
      cause: error,
    });
  }
}

function nodeUrl(config: Config): URL {
  // The main thread fills it in where it is not set.
  return new URL(config.values["server.url"]!);
}

function tokenFile(config: Config): string {
  return config.values["server.token_file"]!;
}

function bare(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, "$1");
}
