import type { Env } from "../../base/env.ts";
import { UsageError, UserError } from "../../base/errors.ts";
import { InvalidValue, parseValue } from "../../config/values.ts";
import { tlsGrants } from "../../sandbox/tls.ts";
import { command } from "../command.ts";

/**
 * `agent entrypoint COMMAND …` in a container prepares the state volume and goes on with the
 * command (see cli/run.ts); this is the part that prepares.
 */
export default command({
  path: "entrypoint",
  summary: "Prepare the state volume of a container, then run a command",
  description:
    "What an image starts: agent entrypoint node -H 0.0.0.0. State that was baked into " +
    "the image is copied into an empty volume. With TLS_INIT=1 a first start makes a CA and a " +
    "certificate. A volume that holds TLS state is left as it is. Then the command after " +
    "entrypoint is run.",
  options: {},
  examples: [{ line: "agent entrypoint", does: "Only prepare the volume" }],
  hidden: true,
  grants: async ({ env }) => {
    const { defaultSeed } = await import("../../container/seed.ts");
    const seed = Deno.env.get("AGENT_SEED") ?? defaultSeed;
    const grants = await tlsGrants(env, { folders: [env.configRoot] });
    return {
      ...grants,
      read: [...grants.read, seed],
      sys: [...grants.sys, "gid"],
      env: ["AGENT_SEED", "TLS_INIT", "AGENT_NODE_ADVERTISE"],
    };
  },
  run: async ({ env }) => {
    const { copySeed, defaultSeed, unwritableVolume } = await import("../../container/seed.ts");
    try {
      const seeded = copySeed(env.variable("AGENT_SEED") ?? defaultSeed, env.configRoot);
      if (seeded.kind === "kept" && seeded.differs) {
        env.log.warn("the state volume belongs to another CA than the image's state, and is kept", {
          next: "to use the image's, start with an empty volume",
        });
      }
      return { seeded, made: await init(env) };
    } catch (error) {
      const isVolume = !(error instanceof UserError) || unusable.has(error.code);
      throw isVolume ? unwritableVolume(env.configRoot, causeOf(error)) : error;
    }
  },
  // On stderr: the command that follows has stdout.
  streams: true,
});

const unusable: ReadonlySet<string> = new Set(["file_unwritable", "file_unreadable"]);

/** Makes a CA and a certificate where they are wanted and missing. */
async function init(env: Env): Promise<boolean> {
  const isWanted = wantsInit(env.variable("TLS_INIT") || "0");
  const { pkiOf } = await import("../../pki/directory/context.ts");
  const { isThere } = await import("../../pki/directory/tls_directory.ts");
  const pki = pkiOf(env);
  if (!isWanted || isThere(`${pki.root}/config.yaml`)) return false;
  const { initTls } = await import("../../pki/operations/init.ts");
  const { isIP } = await import("node:net");
  const named = (env.variable("AGENT_NODE_ADVERTISE") ?? "").split(",")
    .map((address) => address.trim().replace(/^\[?(.*?)\]?(:\d+)?$/, "$1"))
    .filter((host) => host !== "");
  Deno.mkdirSync(env.configRoot, { recursive: true, mode: 0o700 });
  await initTls(pki, {
    hostnames: named.filter((host) => isIP(host) === 0),
    ips: named.filter((host) => isIP(host) !== 0),
  });
  return true;
}

/** @throws {UsageError} where it says neither yes nor no. */
function wantsInit(text: string): boolean {
  try {
    return parseValue({ kind: "flag" }, text);
  } catch (error) {
    if (!(error instanceof InvalidValue)) throw error;
    throw new UsageError(`TLS_INIT is ${JSON.stringify(text)}, ${error.message}`);
  }
}

function causeOf(error: unknown): unknown {
  return error instanceof Error && error.cause !== undefined ? error.cause : error;
}
