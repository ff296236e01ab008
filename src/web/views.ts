/** What the node's REST API answers with: snake_case, RFC 3339 times in UTC. */
export type { TaskView, WorkerView } from "../client/views.ts";
export type {
  ClusterView,
  EdgeView,
  NetworkView,
  NodesView,
  NodeView,
  ReachView,
} from "../mesh/cluster_view.ts";

/** A coordinator whose tasks and workers are missing. */
export interface UnansweredView {
  coordinator: string;
  reason: string;
}

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
