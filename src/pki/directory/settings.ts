/**
 * Where the files of a TLS directory are and what its config.yaml says. Light: every start of a role
 * and of a command reads it.
 */
import { isAbsolute, join, resolve } from "node:path";
import { messageOf, UserError } from "../../base/errors.ts";
import { lockFolder } from "../../base/fs/file_transaction.ts";
import { isWithin } from "../../base/fs/paths.ts";
import { isUnfinished } from "../../base/fs/recovery_journal.ts";
import { PkiError } from "../errors.ts";
import { readSmallText } from "../x509/inspect.ts";
import { certifiable, type Names } from "../x509/names.ts";
import { shellQuoted } from "../../base/shell_quoted.ts";

/** Where the files of a TLS directory are, as absolute paths. */
export interface TlsPaths {
  root: string;
  config: string;
  caCert: string;
  caKey: string;
  caSerial: string;
  serverCert: string;
  serverKey: string;
  /** The key of a request that has not been answered yet. */
  pendingKey: string;
  caBundle: string;
  trustedDir: string;
  /** Exists while `tls enable` is to restore `auto_on_non_loopback`, which `tls disable` cleared. */
  autoMarker: string;
}

export interface TlsSettings extends TlsPaths {
  /** Whether there is a config.yaml. */
  exists: boolean;
  /** The switch for every server of this host. */
  enabled: boolean;
  /** Servers that listen beyond loopback use TLS even where `enabled` does not say so. */
  autoOnNonLoopback: boolean;
  /** Names of the next certificate, as far as `san` holds names that can be certified. */
  san: Names;
  /** What is wrong with `san`; it stops commands that issue or ask for a certificate, and no other. */
  sanFault: PkiError | undefined;
  validityDays: number;
  caValidityDays: number;
  verifyHostname: boolean;
  /** Unknown keys; they are kept when the file is written. */
  unknownKeys: string[];
}

/** 825 days: what Apple's platforms accept of a private CA, counted over the whole span. */
export const defaultValidityDays = 825;
export const defaultCaValidityDays = 3650;
/** 100 years; longer dates break other programs. */
const maxValidityDays = 36_500;

/** The root of the TLS directory: AGENT_TLS_DIR, else `tls` in the configuration folder. */
export function tlsRoot(
  env: { configRoot: string; variable: (name: string) => string | undefined },
): string {
  const named = env.variable("AGENT_TLS_DIR");
  return resolve(named ? named : join(env.configRoot, "tls"));
}

/** The layout of a directory whose config.yaml says nothing else. */
export function tlsPaths(root: string): TlsPaths {
  const serverKey = join(root, "server.key");
  return {
    root,
    config: join(root, "config.yaml"),
    caCert: join(root, "ca", "ca.crt"),
    caKey: join(root, "ca", "ca.key"),
    caSerial: join(root, "ca", "ca.srl"),
    serverCert: join(root, "server.crt"),
    serverKey,
    pendingKey: `${serverKey}.next`,
    caBundle: join(root, "ca-bundle.crt"),
    trustedDir: join(root, "trusted"),
    autoMarker: join(root, ".auto-was-on"),
  };
}

/**
 * Finishes a change that a crash cut off, before a role is handed the files. Where the directory
 * cannot be written it stays for its owner's next command; a pair that does not fit is refused then.
 */
export async function settle(root: string): Promise<void> {
  try {
    if (isUnfinished(root)) await (await lockFolder(root))[Symbol.asyncDispose]();
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
  }
}

/** Reads config.yaml; what it leaves out has its default, also where there is no directory. */
export async function readTlsSettings(root: string): Promise<TlsSettings> {
  const paths = tlsPaths(root);
  let text: string;
  try {
    text = readSmallText(paths.config);
  } catch (error) {
    if (!(error instanceof PkiError && error.code === "file_not_found")) throw error;
    return settingsOf({}, paths, false);
  }
  return await parseTlsSettings(text, root);
}

/** Reads the text of a config.yaml. */
export async function parseTlsSettings(text: string, root: string): Promise<TlsSettings> {
  const paths = tlsPaths(root);
  const { parse } = await import("@std/yaml");
  let document: unknown;
  try {
    document = parse(text, { schema: "core" });
  } catch (cause) {
    const reason = messageOf(cause).split("\n")[0];
    throw badSettings(paths.config, `it is not YAML: ${reason}`, cause);
  }
  return settingsOf(mapping(document ?? {}, "the document", paths.config), paths, true);
}

const pathKeys = {
  ca_cert: "caCert",
  ca_key: "caKey",
  ca_serial: "caSerial",
  server_cert: "serverCert",
  server_key: "serverKey",
  ca_bundle: "caBundle",
  trusted_dir: "trustedDir",
} as const;
const otherKeys = [
  "enabled",
  "auto_on_non_loopback",
  "san",
  "validity_days",
  "ca_validity_days",
  "verify_hostname",
];

function settingsOf(
  document: Record<string, unknown>,
  defaults: TlsPaths,
  exists: boolean,
): TlsSettings {
  const file = defaults.config;
  const paths = { ...defaults };
  for (const [key, name] of Object.entries(pathKeys)) {
    const value = document[key];
    if (value === undefined || value === null) continue;
    if (typeof value !== "string" || value === "" || value.includes("\0")) {
      throw badSettings(file, `"${key}" is not a path`);
    }
    paths[name] = isAbsolute(value) ? resolve(value) : resolve(defaults.root, value);
  }
  paths.pendingKey = `${paths.serverKey}.next`;
  refuseShared(paths);
  const flag = (key: string, otherwise: boolean) => {
    const value = document[key] ?? otherwise;
    if (typeof value !== "boolean") throw badSettings(file, `"${key}" is not true or false`);
    return value;
  };
  const days = (key: string, otherwise: number) => {
    const value = document[key] ?? otherwise;
    if (typeof value !== "number" || !Number.isInteger(value) || value < 1) {
      throw badSettings(file, `"${key}" is not a number of days from 1`);
    }
    if (value > maxValidityDays) throw badSettings(file, `"${key}" is over 100 years`);
    return value;
  };
  return {
    ...paths,
    exists,
    enabled: flag("enabled", false),
    autoOnNonLoopback: flag("auto_on_non_loopback", exists),
    ...sanOf(document.san, file),
    validityDays: days("validity_days", defaultValidityDays),
    caValidityDays: days("ca_validity_days", defaultCaValidityDays),
    verifyHostname: flag("verify_hostname", false),
    unknownKeys: [
      ...Object.keys(document).filter((key) =>
        !Object.hasOwn(pathKeys, key) && !otherKeys.includes(key)
      ),
      ...isMapping(document.san)
        ? Object.keys(document.san).filter((key) => key !== "hostnames" && key !== "ips")
          .map((key) => `san.${key}`)
        : [],
    ],
  };
}

/**
 * Two of the files in one place would overwrite each other: a trust bundle the key of the CA. Files of
 * another program may be one for certificate and key.
 */
function refuseShared(paths: TlsPaths): void {
  const written = (key: string, path: string) =>
    isWithin(paths.root, path) || key === "ca_bundle" || key === "ca_serial";
  const taken = new Map([[paths.config, "config.yaml"], [paths.pendingKey, "server_key"]]);
  const all = Object.entries(pathKeys).map(([key, name]) => [key, paths[name]] as const);
  for (const [key, path] of all) {
    const other = taken.get(path);
    if (other !== undefined && (written(key, path) || written(other, path))) {
      throw badSettings(paths.config, `"${key}" and "${other}" lead to the same file`);
    }
    taken.set(path, key);
  }
  if (isWithin(paths.trustedDir, paths.serverCert)) {
    throw badSettings(paths.config, '"trusted_dir" holds "server_cert", which is no CA');
  }
}

/** Reads `san`; a fault in it must not keep a person from looking, installing or switching off. */
function sanOf(value: unknown, file: string): Pick<TlsSettings, "san" | "sanFault"> {
  const faults: string[] = [];
  const list = (key: "hostnames" | "ips"): string[] => {
    const items = isMapping(value) ? value[key] ?? [] : [];
    if (!Array.isArray(items)) {
      faults.push(`"san.${key}" is not a list`);
      return [];
    }
    const texts = items.filter((item) => typeof item === "string");
    if (texts.length < items.length) faults.push(`"san.${key}" holds a value that is no text`);
    return texts;
  };
  if (!isMapping(value ?? {})) faults.push('"san" is not a mapping of keys to values');
  const { names, refused } = certifiable({ hostnames: list("hostnames"), ips: list("ips") });
  faults.push(...refused.map(({ reason }) => `in "san": ${reason}`));
  return {
    san: names,
    sanFault: faults[0] === undefined ? undefined : badSettings(file, faults[0]),
  };
}

function mapping(value: unknown, what: string, file: string): Record<string, unknown> {
  if (!isMapping(value)) throw badSettings(file, `${what} is not a mapping of keys to values`);
  return value;
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function badSettings(file: string, what: string, cause?: unknown): PkiError {
  return new PkiError("bad_settings", `Could not use "${file}": ${what}`, {
    exit: 2,
    next: `Correct the file: ${shellQuoted(file)}`,
    file,
    cause,
  });
}
