import { Refusal, UsageError } from "../base/errors.ts";
import { isLoopback } from "./addresses.ts";
import type { Config } from "./schema.ts";

/** The coordinator serves, the others dial it. */
export type PeerRole = "coordinator" | "worker" | "client" | "node";

/**
 * Decides how a role or client speaks gRPC, in the terms of tls/mode.ts; the files themselves are not
 * read. An unclear configuration is refused rather than weakened: `insecure=false` never falls back
 * to plaintext, and plaintext beyond loopback needs `insecure=true` written out.
 *
 * @throws {UsageError} where files are missing.
 * @throws {Refusal} of plaintext beyond loopback.
 */
export function peerMode(config: Config, role: PeerRole) {
  const { values, origins } = config;
  const side = role === "coordinator" ? "server" : "client";
  if (values["peer.insecure"]) {
    const addresses = role === "coordinator"
      ? [values["coordinator.host"]]
      : values[`${role}.coordinators`];
    const far = addresses.find((address) => !isLoopback(address));
    if (far !== undefined && origins["peer.insecure"] === "default") {
      const doing = side === "server" ? "listen on" : "dial";
      throw new Refusal(`Refused to ${doing} "${far}" without TLS`, {
        code: "plaintext_refused",
        next:
          "Turn TLS on with --peer.insecure=false, or allow plaintext with --peer.insecure=true",
      });
    }
    return { mode: "h2c" } as const;
  }
  const certFile = values["peer.cert_file"];
  const keyFile = values["peer.key_file"];
  const clientCaFile = values["peer.client_ca_file"];
  if ((certFile === undefined) !== (keyFile === undefined)) {
    const [given, missing] = certFile === undefined
      ? ["peer.key_file", "peer.cert_file"]
      : ["peer.cert_file", "peer.key_file"];
    throw new UsageError(
      `"${given}" is set, but "${missing}" is not; a certificate and its key belong together`,
      {
        next: `Set ${missing} too; agent tls mint makes such a pair`,
      },
    );
  }
  const skipVerify = side === "client" && values["peer.skip_tls_verify"];
  if (side === "server" && certFile === undefined) {
    throw new UsageError('"peer.insecure" is false, but there is no certificate to serve with', {
      next:
        "agent tls status says whether to make one or to turn TLS on; or set peer.cert_file and peer.key_file",
    });
  }
  if (side === "client" && clientCaFile === undefined && !skipVerify) {
    throw new UsageError(
      '"peer.insecure" is false, but there is no CA to verify the coordinator with',
      {
        next:
          "agent tls status says whether to install a certificate or to turn TLS on; or set peer.client_ca_file",
      },
    );
  }
  const serverName = values["peer.server_name"];
  return {
    mode: (side === "server" ? clientCaFile : certFile) === undefined
      ? "tls" as const
      : "mtls" as const,
    ...(certFile === undefined ? {} : { certFile }),
    ...(keyFile === undefined ? {} : { keyFile }),
    ...(clientCaFile === undefined ? {} : { clientCaFile }),
    skipVerify,
    ...(side === "client" && serverName !== undefined ? { serverName } : {}),
  };
}

/**
 * The warning if settings of TLS have no effect: files that nothing says to use, or
 * `peer.skip_tls_verify`, which turns no TLS on by itself.
 */
export function idleTls({ values, origins }: Config): string | undefined {
  if (!values["peer.insecure"]) return undefined;
  if (values["peer.skip_tls_verify"]) {
    return "TLS is off: peer.skip_tls_verify does not turn it on, only peer.insecure=false does";
  }
  if (origins["peer.insecure"] !== "default") return undefined;
  const idle = fileKeys.find((key) => values[key] !== undefined);
  return idle && `TLS is off: ${idle} is set, but peer.insecure=false is not`;
}

const fileKeys = ["peer.cert_file", "peer.key_file", "peer.client_ca_file"] as const;
