import { join } from "node:path";
import type { Env } from "../base/env.ts";
import { UserError } from "../base/errors.ts";
import { whyNoAccess } from "../base/fs/no_access.ts";
import { type Account, folders } from "../config/folders.ts";
import { type Findings, loadConfig, requireSound, withValues } from "../config/load.ts";
import { type Config, configKeys, variablesOf } from "../config/schema.ts";
import type { TlsSettings } from "../pki/directory/settings.ts";
import type { EnvFacts } from "../sandbox/env.ts";
import type { Usage } from "./command.ts";
import type { Parsed } from "./parse.ts";

/** What the main thread determines once, before it starts a command or role. */
export interface Settings {
  config: Config;
  findings: Findings;
  env: EnvFacts;
  /** Path of the CA's key, which no code that talks to the network may read. */
  caKey: () => Promise<string>;
}

const variable: Account["variable"] = (name) => Deno.env.get(name);

/** Loads the configuration if the command uses it, else only defaults, which cannot fail. */
export async function settingsFor(
  usage: Usage & { entry?: string; grants?: unknown },
  parsed: Parsed,
): Promise<Settings> {
  const uses = usage.config !== undefined;
  // `agent version` works without a home folder too.
  const roots = uses || usage.grants !== undefined
    ? folders({ os: Deno.build.os, uid: Deno.uid(), variable })
    : { configRoot: "", stateRoot: "" };
  const loaded = loadConfig({
    flags: parsed.config,
    variables: uses ? ownVariables() : {},
    file: uses
      ? await configFile(parsed.common.config, roots.configRoot, usage.makesConfig)
      : undefined,
    workingFolder: Deno.cwd(),
    host: {
      hostname: Deno.hostname(),
      cpus: navigator.hardwareConcurrency,
      gpus: usage.config?.includes("worker") ? countGpus() : 0,
      stateRoot: roots.stateRoot,
      // With --json a role logs in JSON too.
      terminal: Deno.stderr.isTerminal() &&
        (usage.entry === undefined || parsed.common.json !== "true"),
    },
  });
  const { config: _, ...found } = loaded;
  let tlsSettings: Promise<TlsSettings> | undefined;
  const tls = () => tlsSettings ??= tlsSettingsIn(roots.configRoot, usage.lenient);
  const sound = usage.lenient ? loaded.config : requireSound(loaded);
  const { config, idleDirectory } = await withHost(usage, sound, tls, roots);
  const findings = idleDirectory === undefined
    ? found
    : { ...found, idleDirectory, warnings: [...found.warnings, idleDirectory] };
  // A command logs for the person who typed it: warnings, as text, unless set otherwise.
  const logs = (key: "log.level" | "log.format") =>
    usage.entry !== undefined || config.origins[key] !== "default";
  return {
    config,
    findings,
    caKey: async () => (await tls()).caKey,
    env: {
      ...roots,
      color: colors(parsed.common.color),
      log: {
        level: logs("log.level") ? config.values["log.level"] : "warn",
        format: logs("log.format") ? config.values["log.format"] : "text",
      },
    },
  };
}

/** What the files of this host add to the configuration, and the warning of `idleTlsDirectory`. */
async function withHost(
  usage: Usage & { entry?: string },
  loaded: Config,
  tls: () => Promise<TlsSettings>,
  roots: Pick<EnvFacts, "configRoot">,
): Promise<{ config: Config; idleDirectory: string | undefined }> {
  let config = loaded;
  let idleDirectory: string | undefined;
  if (usage.config?.includes("peer")) {
    config = await withTlsDirectory(config, tls);
    const servesPeers = usage.entry === "coordinator" || usage.entry === "worker";
    if (servesPeers || usage.lenient) idleDirectory = await idleTlsDirectory(config, tls);
  }
  // Commands that dial a node only where one is named do not need to know the one of this host.
  if (usage.config?.includes("node") || config.origins["server.url"] !== "default") {
    config = await withLocalNode(config, { ...roots, variable });
  }
  return { config, idleDirectory };
}

/**
 * Loaded late: only commands with peers need it.
 *
 * @param lenient a command that reports a damaged file goes on with the defaults.
 */
async function tlsSettingsIn(configRoot: string, lenient = false): Promise<TlsSettings> {
  const { parseTlsSettings, readTlsSettings, settle, tlsRoot } = await import(
    "../pki/directory/settings.ts"
  );
  const root = tlsRoot({ configRoot, variable });
  await settle(root);
  return await readTlsSettings(root).catch((error) => {
    if (!lenient || !(error instanceof UserError)) throw error;
    return parseTlsSettings("", root);
  });
}

const peerFileKeys = ["peer.cert_file", "peer.key_file", "peer.client_ca_file"] as const;

/**
 * With TLS on and no file set, an enabled TLS directory supplies all three, so that one `tls init` or
 * `tls install` secures gRPC too.
 */
async function withTlsDirectory(config: Config, tls: () => Promise<TlsSettings>): Promise<Config> {
  const { values } = config;
  if (values["peer.insecure"] || peerFileKeys.some((key) => values[key] !== undefined)) {
    return config;
  }
  const { enabled, serverCert, serverKey, caBundle } = await tls();
  if (!enabled) return config;
  return withValues(config, {
    "peer.cert_file": serverCert,
    "peer.key_file": serverKey,
    "peer.client_ca_file": caBundle,
  }, "tls directory");
}

/** Without `server.url` it is the node of this host, and without `server.token_file` its token. */
async function withLocalNode(config: Config, env: Pick<Env, "configRoot" | "variable">) {
  const { localNode } = await import("../roles/local_node.ts");
  const { "server.url": url, "server.token_file": tokenFile } = config.values;
  const local = await localNode(config, env);
  return withValues(
    withValues(config, url === undefined ? { "server.url": local.url } : {}, "default"),
    tokenFile === undefined ? { "server.token_file": local.tokenFile } : {},
    "default",
  );
}

/** The warning that a TLS directory is enabled, and gRPC is plaintext because nothing was set. */
async function idleTlsDirectory(
  { values, origins }: Config,
  tls: () => Promise<TlsSettings>,
): Promise<string | undefined> {
  const isUnset = origins["peer.insecure"] === "default" &&
    peerFileKeys.every((key) => values[key] === undefined);
  if (!isUnset || !(await tls()).enabled) return undefined;
  return "gRPC is plaintext although the TLS directory of this host is enabled; " +
    "to use it: agent config set peer.insecure false";
}

function ownVariables(): Record<string, string> {
  const all = Object.entries(Deno.env.toObject());
  const known = new Set(configKeys.flatMap(variablesOf));
  return Object.fromEntries(
    all.filter(([name]) => name.startsWith("AGENT_") || known.has(name)),
  );
}

/** A file that was named must exist, except to be made; the one in the user's folder may be missing. */
async function configFile(flag: string | undefined, configRoot: string, isMade = false) {
  const named = flag ?? (variable("AGENT_CONFIG") || undefined);
  const path = named ?? join(configRoot, "config.yaml");
  let text = "";
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    const isMissing = error instanceof Deno.errors.NotFound;
    if (isMissing && named === undefined) return undefined;
    if (!isMissing || !isMade) throw unreadable(path, error);
  }
  // Loaded late: most hosts have no file, and a YAML parser costs each start a few milliseconds.
  const { parseFile } = await import("../config/file.ts");
  return parseFile(path, text);
}

function unreadable(path: string, error: unknown): UserError {
  const reason = error instanceof Deno.errors.NotFound
    ? "it does not exist"
    : error instanceof Deno.errors.PermissionDenied
    ? permissionDenied(path, error)
    : String(error);
  return new UserError(`Reading the configuration "${path}" failed: ${reason}`, {
    exit: 2,
    code: "configuration",
    next: "Name a file that this user can read, with --config or AGENT_CONFIG",
    cause: error,
  });
}

function permissionDenied(path: string, error: Error): string {
  const uid = Deno.uid();
  const why = whyNoAccess(path, error, uid);
  return why.cause === "owner"
    ? `permission denied: "${why.folder}" belongs to user ${why.owner}, and this is user ${uid}`
    : "permission denied";
}

/** By https://no-color.org: any value that is not empty switches colour off. */
function colors(choice: string | undefined): EnvFacts["color"] {
  if (choice === "always") return { stdout: true, stderr: true };
  const off = choice === "never" || (variable("NO_COLOR") ?? "") !== "" ||
    variable("TERM") === "dumb";
  return off
    ? { stdout: false, stderr: false }
    : { stdout: Deno.stdout.isTerminal(), stderr: Deno.stderr.isTerminal() };
}

/** NVIDIA's driver makes /dev/nvidia0, /dev/nvidia1, …; a container sees those that it was given. */
function countGpus(): number {
  try {
    const names = Array.from(Deno.readDirSync("/dev"), ({ name }) => name);
    return names.filter((name) => /^nvidia\d+$/.test(name)).length;
  } catch {
    return 0;
  }
}
