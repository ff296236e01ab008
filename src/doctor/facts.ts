/** What `agent doctor` knows about a host: plain data. local.ts and network.ts gather it, rules.ts judges it. */

export interface Facts {
  /** Milliseconds since the epoch. */
  now: number;
  /** When this version was released: an earlier clock is wrong. */
  releasedOn: number;
  os: string;
  hostname: string;
  /** Addresses of this host's own name; undefined if it does not resolve. */
  ownAddresses: string[] | undefined;
  /** Addresses at which other hosts may reach this one. */
  usableInterfaces: string[];
  hasProc: boolean;
  config: {
    file: string | undefined;
    problems: { message: string; next?: string | undefined }[];
    warnings: string[];
    /** The warning if TLS files exist and gRPC does not use them. */
    idle: string | undefined;
    unknownVariables: { name: string; nearest?: string | undefined }[];
    /** Roles that would not start. */
    refused: { role: string; message: string; next?: string | undefined }[];
  };
  tls: TlsFacts | { error: string; next: string | undefined };
  token: { file: string; exists: boolean; mode: number | undefined };
  folders: FolderFacts[];
  ports: PortFacts[];
  targets: TargetFacts[];
  multicast: "works" | "deaf" | "no_route" | "not_tried";
  cgroups: "writable" | "read_only" | "v1" | "none";
  worker: { user: string | undefined; isRoot: boolean };
  units: { role: string; enabled: boolean }[];
  hasSystemd: boolean;
}

export interface TlsFacts {
  host: "ca_holder" | "peer" | "none";
  enabled: boolean;
  warnings: { code: string; message: string; command: string }[];
}

export interface FolderFacts {
  setting: string;
  path: string;
  exists: boolean;
  writable: boolean;
  freeBytes: number | undefined;
  totalBytes: number | undefined;
  freeInodes: number | undefined;
}

export interface PortFacts {
  role: string;
  setting: string;
  address: string;
  /** What listens there: an agent, something else, nothing. */
  state: "agent" | "other" | "free";
}

export interface TargetFacts {
  /** `host:port`. */
  address: string;
  /** "named" (on the command line), or the setting that names it. */
  from: string;
  /** All addresses of the name; empty if it does not resolve. */
  addresses: string[];
  /** What is wrong with the connection; undefined if it works. */
  fault: { code: string; message: string; next: string } | undefined;
  /** Its clock minus ours; undefined if it does not tell its time. */
  clockOffsetMs: number | undefined;
}
