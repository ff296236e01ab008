import { joinHost } from "../base/address.ts";
import { peerMode, type PeerRole } from "../config/peer_mode.ts";
import type { Config } from "../config/schema.ts";
import { type Grants, noGrants } from "./grants.ts";

/** The grants of the roles, and of commands that dial coordinators: what they use and no more. */

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

/** Without starting processes: the role asks the runner. */
export function workerGrants(config: Config): Grants {
  const { values } = config;
  const dataDir = values["worker.data_dir"];
  return {
    ...noGrants,
    read: [...peerFiles(config, "worker"), dataDir],
    write: [dataDir],
    net: [
      ...values["worker.coordinators"],
      ...healthAddress(values["worker.health_host"], values["worker.health_port"]),
    ],
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

/** File by file, never their folder: the CA's key may be in it. */
function peerFiles(config: Config, role: PeerRole): string[] {
  const mode = peerMode(config, role);
  if (mode.mode === "h2c") return [];
  return [mode.certFile, mode.keyFile, mode.caFile].filter((file) => file !== undefined);
}

/** Port 0 turns the endpoint off. */
function healthAddress(host: string, port: number): string[] {
  return port === 0 ? [] : [joinHost(host, port)];
}
