import { join } from "node:path";
import { joinHost } from "../base/address.ts";
import { stagedName } from "../base/fs/atomic_file.ts";
import { peerMode, type PeerRole } from "../config/peer_mode.ts";
import type { Config } from "../config/schema.ts";
import { type Grants, noGrants } from "./grants.ts";

/** The grants of roles and of commands that dial coordinators: exactly what they use. */

export function coordinatorGrants(config: Config): Grants {
  const { values } = config;
  const dataDir = values["coordinator.data_dir"];
  return {
    ...noGrants,
    read: [...peerFiles(config, "coordinator"), dataDir],
    write: [dataDir],
    net: [
      joinHost(values["coordinator.host"], values["coordinator.port"]),
      ...healthAddress(values["coordinator.health_host"], values["coordinator.health_port"]),
    ],
    sys: ["hostname", "statfs"],
  };
}

/**
 * The role does not start processes: it asks the runner. It may access only those parts of the data
 * folder that no task can write: a link in a task's folder would lead out of the grant.
 */
export function workerGrants(config: Config): Grants {
  const { values } = config;
  const dataDir = values["worker.data_dir"];
  return {
    ...noGrants,
    read: [...peerFiles(config, "worker"), join(dataDir, "spool"), join(dataDir, "artifacts")],
    write: [join(dataDir, "spool")],
    net: [
      ...values["worker.coordinators"],
      ...healthAddress(values["worker.health_host"], values["worker.health_port"]),
    ],
    sys: ["hostname"],
  };
}

/**
 * A node dials any host that becomes a member, and listens to multicast, so its network is not limited.
 * Of the TLS directory it reads only the certificates that it presents and trusts.
 *
 * @param files its certificates, keys and CAs.
 * @param identity its token and its id, which it makes at the first start.
 */
export function nodeGrants(
  config: Config,
  files: (string | undefined)[],
  identity: { token: string; nodeId: string },
): Grants {
  const { values } = config;
  const dataDir = values["node.data_dir"];
  const made = [identity.token, identity.nodeId].flatMap((path) => [path, stagedName(path)]);
  const peer = values["node.coordinators"].length === 0 ? [] : peerFiles(config, "node");
  return {
    ...noGrants,
    read: [...files.filter((file) => file !== undefined), ...peer, ...made, dataDir],
    write: [...made, dataDir],
    net: true,
    sys: ["hostname", "networkInterfaces", "statfs", "systemMemoryInfo", "loadavg"],
  };
}

/** @param named files and folders that were named on the command line, as absolute paths. */
export function clientGrants(
  config: Config,
  named: { read?: string[]; write?: string[] } = {},
): Grants {
  return {
    ...noGrants,
    read: [...peerFiles(config, "client"), ...named.read ?? []],
    write: named.write ?? [],
    net: config.values["client.coordinators"],
  };
}

/** Single files, never their folder, which may contain the CA's key. */
function peerFiles(config: Config, role: PeerRole): string[] {
  const mode = peerMode(config, role);
  if (mode.mode === "h2c") return [];
  return [mode.certFile, mode.keyFile, mode.clientCaFile].filter((file) => file !== undefined);
}

/** Port 0 turns the endpoint off. */
function healthAddress(host: string, port: number): string[] {
  return port === 0 ? [] : [joinHost(host, port)];
}
