import { limits } from "../tasks/limits.ts";
import { isWorkerId, workerIdSyntax } from "../tasks/names.ts";
import * as kinds from "./kinds.ts";

/** The first part of a key: `peer`, `coordinator`, … */
export type ConfigSection =
  | "peer"
  | "coordinator"
  | "worker"
  | "client"
  | "log";

/** The effective configuration. Keys are those of the schema: `config["peer.cert_file"]`. */
export interface ConfigValues {
  "peer.insecure": boolean;
  "peer.cert_file": string | undefined;
  "peer.key_file": string | undefined;
  "peer.client_ca_file": string | undefined;
  "peer.skip_tls_verify": boolean;
  "peer.server_name": string | undefined;
  "coordinator.host": string;
  "coordinator.port": number;
  "coordinator.advertise": string | undefined;
  "coordinator.health_host": string;
  "coordinator.health_port": number;
  "coordinator.data_dir": string;
  "worker.coordinators": string[];
  "worker.id": string;
  "worker.labels": Readonly<Record<string, string>>;
  "worker.slots": number;
  "worker.health_host": string;
  "worker.health_port": number;
  "worker.data_dir": string;
  "worker.allow_commands": string[] | undefined;
  "worker.user": string | undefined;
  "client.coordinators": string[];
  "log.level": "debug" | "info" | "warn" | "error";
  "log.format": "text" | "json";
}

export type ConfigKey = keyof ConfigValues;

/** Where a value came from: the least specific first. */
export type Origin = "default" | "tls directory" | "file" | "environment" | "flag";

export interface Config {
  readonly values: Readonly<ConfigValues>;
  readonly origins: Readonly<Record<ConfigKey, Origin>>;
  /** The configuration file that was read, if any. */
  readonly file: string | undefined;
}

/** What defaults are made of. */
export interface Host {
  hostname: string;
  cpus: number;
  stateRoot: string;
  /** Whether stderr is a terminal. */
  terminal: boolean;
}

export interface KeySpec<T> {
  kind: kinds.Kind<NonNullable<T>>;
  help: string;
  /** Called in the order of the schema, so it may use the values of keys above its own. */
  default: (host: Host, above: ConfigValues) => T;
  /** The default in words, where the value itself says too little. */
  defaultHelp?: string;
  /** A second, shorter flag. */
  flag?: string;
}

/** The port that coordinators listen on and that addresses without a port mean. */
const coordinatorPort = 50055;

const none = () => undefined;

/** Every key. Flag, variable and YAML path are derived from its name. */
export const schema: { readonly [K in ConfigKey]: KeySpec<ConfigValues[K]> } = {
  "peer.insecure": {
    kind: kinds.flag,
    default: () => true,
    help: "Plaintext gRPC; false means TLS, or mTLS where a client CA or certificate is set. " +
      "Off loopback true must be written out",
  },
  "peer.cert_file": {
    kind: kinds.path,
    default: none,
    help: "Certificate of this side: the server's, or a client's for mTLS",
  },
  "peer.key_file": { kind: kinds.path, default: none, help: "Private key of peer.cert_file" },
  "peer.client_ca_file": {
    kind: kinds.path,
    default: none,
    help: "On a coordinator the CA that verifies clients (turns mTLS on); " +
      "on clients the CA that verifies the coordinator",
  },
  "peer.skip_tls_verify": {
    kind: kinds.flag,
    default: () => false,
    help: "Do not verify the coordinator's certificate; for tests only",
  },
  "peer.server_name": {
    kind: kinds.host,
    default: none,
    defaultHelp: "the dialled name",
    help: "Name to look for in the coordinator's certificate",
  },
  "coordinator.host": {
    kind: kinds.listenHost,
    default: () => "127.0.0.1",
    help: "Address to listen on",
  },
  "coordinator.port": {
    kind: kinds.port,
    default: () => coordinatorPort,
    help: "Port to listen on; 0 takes a free one",
  },
  "coordinator.advertise": {
    kind: kinds.advertised,
    default: none,
    defaultHelp: "host and port",
    help: "Address that clients should dial",
  },
  "coordinator.health_host": {
    kind: kinds.listenHost,
    default: () => "127.0.0.1",
    help: "Address of the plain HTTP health endpoint",
  },
  "coordinator.health_port": {
    kind: kinds.port,
    default: () => 8091,
    help: "Port of /healthz, /readyz and /metrics; 0 turns them off",
  },
  "coordinator.data_dir": {
    kind: kinds.path,
    default: ({ stateRoot }) => `${stateRoot}/coordinator`,
    defaultHelp: "coordinator in the state folder",
    help: "Folder of tasks, logs, artifacts and state",
  },
  "worker.coordinators": {
    kind: kinds.addresses(coordinatorPort),
    default: () => [`127.0.0.1:${coordinatorPort}`],
    help: "Coordinators to take tasks from",
  },
  "worker.id": {
    kind: {
      ...kinds.text("ID"),
      parse: (value) => {
        if (!isWorkerId(value)) throw new kinds.InvalidValue(workerIdSyntax);
        return value;
      },
    },
    default: ({ hostname }) =>
      hostname.replaceAll(/[^A-Za-z0-9._-]/g, "-").slice(0, limits.maxWorkerIdLength),
    defaultHelp: "the host name",
    help: "Identity of this worker; no two workers may share one",
  },
  "worker.labels": {
    kind: kinds.labels,
    default: () => Object.freeze({}),
    defaultHelp: "none",
    help: "What selectors of tasks are matched against",
  },
  "worker.slots": {
    kind: kinds.integer("N", 1, limits.maxSlots),
    default: ({ cpus }) => cpus,
    defaultHelp: "the number of CPUs",
    help: "Tasks that run at once",
  },
  "worker.health_host": {
    kind: kinds.listenHost,
    default: () => "127.0.0.1",
    help: "Address of the plain HTTP health endpoint",
  },
  "worker.health_port": {
    kind: kinds.port,
    default: () => 8092,
    help: "Port of /healthz, /readyz and /metrics; 0 turns them off",
  },
  "worker.data_dir": {
    kind: kinds.path,
    default: ({ stateRoot }, above) => `${stateRoot}/worker/${above["worker.id"]}`,
    defaultHelp: "worker/ID in the state folder",
    help: "Spool and the working folders of tasks",
  },
  "worker.allow_commands": {
    kind: kinds.paths,
    default: none,
    defaultHelp: "all",
    help: "Programs that tasks may start, by real path",
  },
  "worker.user": {
    kind: kinds.text("USER"),
    default: none,
    defaultHelp: "the worker's own",
    help: "User that tasks run as; needs root",
  },
  "client.coordinators": {
    kind: kinds.addresses(coordinatorPort),
    default: (_, above) => above["worker.coordinators"],
    defaultHelp: "worker.coordinators",
    help: "Coordinators to dial",
    flag: "coordinators",
  },
  "log.level": {
    kind: kinds.choice("debug", "info", "warn", "error"),
    default: () => "info",
    help: "Least level that is logged",
  },
  "log.format": {
    kind: kinds.choice("text", "json"),
    default: ({ terminal }) => terminal ? "text" : "json",
    defaultHelp: "text on a terminal, else json",
    help: "Form of the log on stderr",
  },
};

export const configKeys = Object.keys(schema) as ConfigKey[];

export const configSections = [...new Set(configKeys.map(sectionOf))];

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

/** Variables of ours that are not keys. */
export const otherVariables = [
  "AGENT_CONFIG",
  "AGENT_TLS_DIR",
  "AGENT_DEBUG",
  "AGENT_STOP_WITH_STDIN",
] as const;
