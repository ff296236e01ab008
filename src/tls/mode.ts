/**
 * How one side speaks gRPC, and from which files. Only `peerMode` of config/peer_mode.ts decides it;
 * this is the form in which the parts that connect and listen take it.
 */
export type PeerMode = { mode: "h2c" } | {
  mode: "tls" | "mtls";
  certFile?: string;
  keyFile?: string;
  /** Server: verifies clients. Client: verifies the coordinator. */
  clientCaFile?: string;
  /** Client only. */
  skipVerify: boolean;
  /** Client only: name to verify instead of the dialled one. */
  serverName?: string;
};

export type TlsMode = Exclude<PeerMode, { mode: "h2c" }>;
