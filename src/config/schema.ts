import { limits } from "../tasks/limits.ts";
import { isWorkerId } from "../tasks/names.ts";
import { isLoopback } from "./addresses.ts";
import type { ValueOf, ValuesOf, ValueSpec } from "./values.ts";

/** What defaults are made of. */
export interface Host {
  hostname: string;
  cpus: number;
  /** NVIDIA GPUs that this host shows; absent: none. */
  gpus?: number;
  stateRoot: string;
  /** Whether stderr is a terminal. */
  terminal: boolean;
}

/** One setting. Flag, variable and YAML path are derived from its key. */
export type Setting = ValueSpec & {
  /** What it does: capital first, no full stop. */
  readonly help: string;
  /**
   * As it would be written; without it the setting has no value. Keys are read in the order of the
   * schema, so a function may ask for those above its own, as they would be written.
   */
  readonly default?: string | ((host: Host, above: (key: string) => string) => string);
  /** The default in words, where the value itself says too little or depends on the host. */
  readonly defaultHelp?: string;
  /** The value is a list: a repeatable flag, or items separated by commas. */
  readonly repeat?: true;
  /** A list that is given may not be empty. */
  readonly nonEmpty?: true;
  /** A second, shorter flag, for the commands whose `shortFlags` name the section. */
  readonly alias?: string;
  /** One letter, for the same commands. */
  readonly short?: string;
  /** A second variable, read where the one that is derived from the key is not set. */
  readonly variable?: string;
};

function settings<const S extends Record<`${string}.${string}`, Setting>>(all: S): S {
  return all;
}

/** The port that coordinators listen on and that addresses without a port mean. */
const coordinatorPort = 50055;
/** The same of nodes. */
const nodePort = 8765;

const healthHost = {
  kind: "listen_host",
  default: "127.0.0.1",
  help: "Address of the plain HTTP health endpoint",
} as const;
const healthPort = {
  kind: "port",
  help: "Port of /healthz, /readyz and /metrics; 0 turns them off",
} as const;

/** Every key. */
export const schema = settings({
  "peer.insecure": {
    kind: "flag",
    default: "true",
    help: "Plaintext gRPC; false turns on TLS, and mTLS where a client CA or certificate is set. " +
      "Beyond loopback, plaintext needs true written out",
  },
  "peer.cert_file": {
    kind: "path",
    help: "Certificate of this side: a coordinator's own, or a client's for mTLS",
  },
  "peer.key_file": { kind: "path", help: "Private key of peer.cert_file" },
  "peer.client_ca_file": {
    kind: "path",
    help: "On a coordinator, the CA that verifies clients (turns on mTLS); " +
      "on clients, the CA that verifies the coordinator",
  },
  "peer.skip_tls_verify": {
    kind: "flag",
    default: "false",
    help: "Do not verify the coordinator's certificate; for tests only",
  },
  "peer.server_name": {
    kind: "host",
    defaultHelp: "the dialled name",
    help: "Name to verify in the coordinator's certificate",
  },
  "coordinator.host": {
    kind: "listen_host",
    default: "127.0.0.1",
    help: "Address to listen on",
  },
  "coordinator.port": {
    kind: "port",
    default: String(coordinatorPort),
    help: "Port to listen on; 0 takes a free one",
  },
  "coordinator.advertise": {
    kind: "advertised",
    defaultHelp: "host and port",
    help: "Address that clients should dial",
  },
  "coordinator.health_host": healthHost,
  "coordinator.health_port": { ...healthPort, default: "8091" },
  "coordinator.data_dir": {
    kind: "path",
    default: ({ stateRoot }) => `${stateRoot}/coordinator`,
    defaultHelp: "coordinator in the state folder",
    help: "Folder of tasks, logs, artifacts and state",
  },
  "coordinator.retention": {
    kind: "duration",
    default: "30d",
    help: "Finished tasks are removed after this time, with their logs and artifacts; with less " +
      "than a tenth of the disk free, the oldest after a day already",
  },
  "coordinator.lost_after": {
    kind: "duration",
    default: "5m",
    help: "How long a worker may be out of touch before its tasks count as lost, from 10s to 1d",
  },
  "coordinator.log_limit": {
    kind: "bytes",
    default: "1GiB",
    help: "Maximum output kept of one attempt; a line marks where it was cut",
  },
  "worker.coordinators": {
    kind: "address",
    defaultPort: coordinatorPort,
    repeat: true,
    nonEmpty: true,
    default: `127.0.0.1:${coordinatorPort}`,
    help: "Coordinators to take tasks from",
  },
  "worker.id": {
    kind: "worker_id",
    default: ({ hostname }) => workerIdOf(hostname),
    defaultHelp: "the host name",
    help: "Identity of this worker; no two workers may share one",
  },
  "worker.labels": {
    kind: "label",
    repeat: true,
    default: "",
    defaultHelp: "none",
    help: "Labels that the selectors of tasks are compared with",
  },
  "worker.slots": {
    kind: "integer",
    min: 1,
    max: limits.maxSlots,
    default: ({ cpus }) => String(cpus),
    defaultHelp: "the number of CPUs",
    help: "Number of tasks that run at the same time",
  },
  "worker.resources": {
    kind: "resource",
    repeat: true,
    default: ({ gpus = 0 }) => gpus === 0 ? "" : `gpu=${gpus}`,
    defaultHelp: "gpu=N where there are N NVIDIA GPUs",
    help: "What tasks may have for themselves (submit --resource); with several coordinators, " +
      "the first one gives it out",
  },
  "worker.health_host": healthHost,
  "worker.health_port": { ...healthPort, default: "8092" },
  "worker.data_dir": {
    kind: "path",
    default: ({ stateRoot }, above) => `${stateRoot}/worker/${above("worker.id")}`,
    defaultHelp: "worker/ID in the state folder",
    help: "Folder of unsent output and of the working folders of tasks",
  },
  "worker.allow_commands": {
    kind: "path",
    repeat: true,
    nonEmpty: true,
    defaultHelp: "all",
    help: "Programs that tasks may start, by real path",
  },
  "worker.allow_env": {
    kind: "line",
    repeat: true,
    defaultHelp: "none",
    help: "With allow_commands: names of the variables that tasks may set",
  },
  "worker.user": {
    kind: "line",
    defaultHelp: "the worker's own",
    help: "User that tasks run as; needs root",
  },
  "client.coordinators": {
    kind: "address",
    defaultPort: coordinatorPort,
    repeat: true,
    nonEmpty: true,
    default: (_, above) => above("worker.coordinators"),
    defaultHelp: "worker.coordinators",
    help: "Coordinators to dial",
    alias: "coordinators",
  },
  "node.host": {
    kind: "listen_host",
    default: "127.0.0.1",
    help: "Address to listen on",
    short: "H",
  },
  "node.port": {
    kind: "port",
    default: String(nodePort),
    help: "Port to listen on; 0 takes a free one",
    alias: "port",
  },
  "node.advertise": {
    kind: "advertised",
    repeat: true,
    default: "",
    defaultHelp: "detected",
    help: "Addresses that other nodes should dial",
  },
  "node.cluster": {
    kind: "line",
    help: "Name of the cluster; nodes of the same name find each other",
    alias: "cluster",
  },
  "node.name": {
    kind: "line",
    default: ({ hostname }) => hostname || "localhost",
    defaultHelp: "the host name",
    help: "Name that is shown for this node",
    alias: "name",
  },
  "node.peers": {
    kind: "address",
    defaultPort: nodePort,
    repeat: true,
    default: "",
    defaultHelp: "none",
    help: "Nodes to dial without mDNS",
    alias: "peer",
  },
  "node.mdns": {
    kind: "flag",
    default: (_, above) => String(!isLoopback(above("node.host"))),
    defaultHelp: "true, false for a loopback host",
    help: "Find other nodes by multicast",
  },
  "node.coordinators": {
    kind: "address",
    defaultPort: coordinatorPort,
    repeat: true,
    default: "",
    defaultHelp: "none",
    help: "Coordinators whose tasks and workers the UI and the REST API serve, " +
      "dialled with the peer settings",
  },
  "node.tls": {
    kind: "flag",
    defaultHelp: "as the TLS directory says",
    help: "Serve HTTPS; false serves plain HTTP",
    alias: "tls",
  },
  "node.insecure": {
    kind: "flag",
    default: "false",
    help: "Allow plain HTTP beyond loopback, for example behind a proxy",
    alias: "insecure",
  },
  "node.tls_cert": {
    kind: "path",
    help: "Certificate to serve, in place of the TLS directory's; turns TLS on",
    alias: "tls-cert",
  },
  "node.tls_key": { kind: "path", help: "Private key of node.tls_cert", alias: "tls-key" },
  "node.no_auth": {
    kind: "flag",
    default: "false",
    help: "Serve everyone without a token",
    alias: "no-auth",
    variable: "NO_AUTH",
  },
  "node.trusted_proxies": {
    kind: "network",
    repeat: true,
    default: "",
    defaultHelp: "none",
    help: "Proxies whose X-Forwarded headers are believed",
  },
  "node.allowed_hosts": {
    kind: "host",
    repeat: true,
    default: "",
    defaultHelp: "none",
    help: "Further names that browsers may reach this node by",
  },
  "node.health_host": healthHost,
  "node.health_port": { ...healthPort, default: "8093" },
  "node.data_dir": {
    kind: "path",
    default: ({ stateRoot }) => `${stateRoot}/node`,
    defaultHelp: "node in the state folder",
    help: "Folder of known members and sessions",
  },
  "server.url": {
    kind: "url",
    defaultHelp: "the node on this host",
    help: "Node that commands dial over HTTP",
  },
  "server.token_file": {
    kind: "path",
    defaultHelp: "the token of this host",
    help: "File with the token of that node",
  },
  "log.level": {
    kind: "choice",
    choices: ["debug", "info", "warn", "error"],
    default: "info",
    help: "Minimum log level",
  },
  "log.format": {
    kind: "choice",
    choices: ["text", "json"],
    default: ({ terminal }) => terminal ? "text" : "json",
    defaultHelp: "text on a terminal, else json",
    help: "Format of the log on stderr",
  },
});

/** Host names may hold what worker ids may not. */
function workerIdOf(hostname: string): string {
  const id = hostname.replaceAll(/[^A-Za-z0-9._-]/g, "-").replace(/^\.+/, "")
    .slice(0, limits.maxWorkerIdLength);
  return isWorkerId(id) ? id : "worker";
}

type Schema = typeof schema;

export type ConfigKey = keyof Schema;

/** The first part of a key: `peer`, `coordinator`, … */
export type ConfigSection = SectionOf<ConfigKey>;

type SectionOf<K> = K extends `${infer S}.${string}` ? S : never;

type SettingValue<S> =
  | (S extends { repeat: true } ? ValuesOf<S> : ValueOf<S>)
  | (S extends { default: unknown } ? never : undefined);

/** The effective configuration. Keys are those of the schema: `config["peer.cert_file"]`. */
export type ConfigValues = { [K in ConfigKey]: SettingValue<Schema[K]> };

/** Where a value came from: the least specific first. */
export type Origin = "default" | "tls directory" | "file" | "environment" | "flag";

export interface Config {
  readonly values: Readonly<ConfigValues>;
  readonly origins: Readonly<Record<ConfigKey, Origin>>;
  /** The configuration file that was read, if any. */
  readonly file: string | undefined;
}

export const configKeys = Object.keys(schema) as ConfigKey[];

export const configSections = [...new Set(configKeys.map(sectionOf))];

/** The setting without the literal types of its own; for code that handles them all. */
export function settingOf(key: ConfigKey): Setting {
  return schema[key];
}

export function sectionOf(key: ConfigKey): ConfigSection {
  return key.slice(0, key.indexOf(".")) as ConfigSection;
}

/** `peer.cert_file` → `peer.cert-file`, as it is written after `--`. */
export function flagOf(key: ConfigKey): string {
  return key.replaceAll("_", "-");
}

/** `peer.cert_file` → `AGENT_PEER_CERT_FILE`. */
export function variableOf(key: ConfigKey): string {
  return `AGENT_${key.replace(".", "_").toUpperCase()}`;
}

/** Variables that set a key, the strongest first. */
export function variablesOf(key: ConfigKey): string[] {
  const { variable } = settingOf(key);
  return variable === undefined ? [variableOf(key)] : [variableOf(key), variable];
}

/** Variables of ours that are not keys. */
export const otherVariables = [
  "AGENT_CONFIG",
  "AGENT_TLS_DIR",
  "AGENT_DEBUG",
  "AGENT_STOP_WITH_STDIN",
] as const;
