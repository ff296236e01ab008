import { join } from "node:path";
import { UserError } from "../base/errors.ts";
import type { Env } from "../base/env.ts";
import { joinHost } from "../base/address.ts";
import type { Config } from "../config/schema.ts";
import { identityFiles } from "../pki/directory/identity_files.ts";
import { nodeTls } from "./node_tls.ts";

/** A node that runs leaves its URL here; its port may have been given on its command line. */
export function urlFile(dataDir: string): string {
  return join(dataDir, "url");
}

/** Where commands on this host dial: what listens on all addresses listens on loopback too. */
export function localUrl(listen: string, tls: boolean): string {
  const host = listen.replace(/^0\.0\.0\.0:/, "127.0.0.1:").replace(/^\[::\]:/, "[::1]:");
  return `${tls ? "https" : "http"}://${host}`;
}

/** The node of this host: the one that runs, else where it would be by the configuration. */
export async function localNode(
  config: Config,
  env: Pick<Env, "configRoot" | "variable">,
): Promise<{ url: string; tokenFile: string }> {
  const { values } = config;
  const { token: tokenFile } = identityFiles(env);
  const running = readUrl(urlFile(values["node.data_dir"]));
  if (running !== undefined) return { url: running, tokenFile };
  const listen = joinHost(values["node.host"], values["node.port"]);
  return { url: localUrl(listen, await wouldUseTls(config, env)), tokenFile };
}

function readUrl(file: string): string | undefined {
  try {
    const url = Deno.readTextFileSync(file).trim();
    return URL.canParse(url) ? url : undefined;
  } catch {
    return undefined; // None runs, or it is another user's.
  }
}

async function wouldUseTls(
  config: Config,
  env: Pick<Env, "configRoot" | "variable">,
): Promise<boolean> {
  try {
    return (await nodeTls(config, env)).serve !== undefined;
  } catch (error) {
    // It would not start; the command then says that nothing answers.
    if (error instanceof UserError) return false;
    throw error;
  }
}
