/** What the node's REST API answers with: snake_case, RFC 3339 times in UTC. */
export type { TaskView, WorkerView } from "../client/views.ts";

export interface SessionView {
  node_id: string;
  name: string;
  /** Null: the node stands alone. */
  cluster: string | null;
  version: string;
  tls: boolean;
  no_auth: boolean;
  coordinators: string[];
}

export interface NodeView {
  id: string;
  name: string;
  address: string;
  addresses: string[];
  self: boolean;
  role: "master" | "node";
  state: "reachable" | "unreachable" | "conflict";
  reachable: boolean;
  last_seen: string | null;
  first_seen: string;
  version: string | null;
  started_at: string | null;
  cpu_count: number | null;
  /** Load average of one minute. */
  load: number | null;
  memory_total: number | null;
  memory_available: number | null;
  /** SHA-256 in hex. */
  ca_fingerprint: string | null;
  certificate_fingerprint: string | null;
  certificate_not_after: string | null;
  clock_offset_ms: number | null;
  latency_ms: number | null;
  shared_identity: boolean;
  warnings: string[];
  /** Why it was not reachable on the last attempt. */
  error: string | null;
  can_sign_on: boolean;
}

export interface ConnectionView {
  from: string;
  to: string;
  reachable: boolean;
  latency_ms: number | null;
  last_seen: string | null;
}

export interface ClusterView {
  cluster: string | null;
  node_id: string;
  master_node_id: string | null;
  /** This node reaches no one: the others' states are as they were last seen. */
  cut_off: boolean;
  nodes: NodeView[];
  links: ConnectionView[];
}

export interface ArtifactView {
  path: string;
  size: number;
  sha256: string;
  mode: string;
  attempt: number;
}

/** One line of a log's answer; `data_base64` where the bytes are not UTF-8. */
export interface LogPieceView {
  attempt: number;
  stream: "stdout" | "stderr";
  offset: number;
  data?: string;
  data_base64?: string;
}
