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
