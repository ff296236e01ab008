import { join } from "node:path";
import { UserError } from "../base/errors.ts";
import type { Env } from "../base/env.ts";
import { joinHost } from "../base/address.ts";
import type { Config } from "../config/schema.ts";
import { identityFiles } from "../pki/directory/identity_files.ts";
import { nodeTls } from "./node_tls.ts";

/** A running node writes its URL here, because its port may come from its command line. */
export function urlFile(dataDir: string): string {
  return join(dataDir, "url");
}

/** The address for commands on this host: loopback if the node listens on all addresses. */
export function localUrl(listen: string, tls: boolean): string {
  const host = listen.replace(/^0\.0\.0\.0:/, "127.0.0.1:").replace(/^\[::\]:/, "[::1]:");
  return `${tls ? "https" : "http"}://${host}`;
}

/** The URL of this host's node: of the running one, else as configured. */
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
    // The node would not start; the command then reports that nothing answers.
    if (error instanceof UserError) return false;
    throw error;
  }
}
