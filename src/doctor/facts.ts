/** What `agent doctor` knows about a host: plain data, gathered by gather.ts, judged by rules.ts. */

export interface Facts {
  /** Milliseconds since the epoch. */
  now: number;
  /** No host runs this version before that day. */
  releasedOn: number;
  os: string;
  hostname: string;
  /** Addresses of the own host name; undefined if it is not known. */
  ownAddresses: string[] | undefined;
  /** Interfaces on which other hosts may be. */
  usableInterfaces: string[];
  hasProc: boolean;
  config: {
    file: string | undefined;
    problems: { message: string; next?: string | undefined }[];
    warnings: string[];
    /** TLS files are there, and nothing says whether gRPC uses them. */
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
  /** Named on the command line, or by this setting. */
  from: string;
  /** All addresses of the name; empty if it is not known. */
  addresses: string[];
  /** What is wrong with the connection; undefined if it works. */
  fault: { code: string; message: string; next: string } | undefined;
  /** Its clock minus ours, where it says what time it is. */
  clockOffsetMs: number | undefined;
}
