import { joinAddress } from "../config/kinds.ts";
import type { PeerMode } from "../config/peer_mode.ts";
import type { Config } from "../config/schema.ts";
import { type Grants, noGrants } from "./grants.ts";

/** Grants of the roles and of what dials coordinators: the table of section 8 of the design. */

export function coordinatorGrants({ values }: Config, mode: PeerMode): Grants {
  const dataDir = values["coordinator.data_dir"];
  return {
    ...noGrants,
    read: [...peerFiles(mode), dataDir],
    write: [dataDir],
    net: [
      joinAddress(values["coordinator.host"], values["coordinator.port"]),
      ...healthAddress(values["coordinator.health_host"], values["coordinator.health_port"]),
    ],
    sys: ["hostname", "statfs"],
  };
}

/** Starting processes is not among them: the role asks the runner. */
export function workerGrants({ values }: Config, mode: PeerMode): Grants {
  const dataDir = values["worker.data_dir"];
  return {
    ...noGrants,
    read: [...peerFiles(mode), dataDir],
    write: [dataDir],
    net: [
      ...values["worker.coordinators"],
      ...healthAddress(values["worker.health_host"], values["worker.health_port"]),
    ],
    sys: ["hostname", "statfs"],
    env: proxyVariables,
  };
}

/** @param named files and folders that were named on the command line, as absolute paths. */
export function clientGrants(
  { values }: Config,
  mode: PeerMode,
  named: { read?: string[]; write?: string[] } = {},
): Grants {
  return {
    ...noGrants,
    read: [...peerFiles(mode), ...named.read ?? []],
    write: named.write ?? [],
    net: values["client.coordinators"],
    env: proxyVariables,
  };
}

/** One by one, never the folder that they are in: the CA's key may be beside them. */
export function peerFiles(mode: PeerMode): string[] {
  if (mode.mode === "h2c") return [];
  return [mode.certFile, mode.keyFile, mode.caFile].filter((file) => file !== undefined);
}

/** What grpc-js looks up before it dials. */
const proxyVariables = ["grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"]
  .flatMap((name) => [name, name.toUpperCase()]);

/** Port 0 means that there is none. */
function healthAddress(host: string, port: number): string[] {
  return port === 0 ? [] : [joinAddress(host, port)];
}
