/** Turns the peers of the command line into `Peer`s: which, and how each is reached. */
import { UsageError } from "../base/errors.ts";
import type { Peer } from "./peer.ts";
import { localTransport } from "./remote.ts";
import { isSshTarget, type SshOptions, sshTransport } from "./ssh.ts";

export interface Targets {
  /** As given, or from the membership. */
  peers: string[];
  /** `PEER=HOST`. */
  sshHost: Readonly<Record<string, string>>;
  container: string | undefined;
  /** `PEER=NAME`. */
  containerHost: Readonly<Record<string, string>>;
}

/** As Docker allows container names. */
const containerName = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$/;

/** @throws {UsageError} for a peer that is named twice, or a mapping of an unknown peer. */
export function peersOf(targets: Targets, ssh: SshOptions): Peer[] {
  const sshHosts = mapping("--ssh-host", targets.sshHost, targets.peers);
  const containers = mapping("--container-host", targets.containerHost, targets.peers);
  const seen = new Set<string>();
  return targets.peers.map((name) => {
    if (seen.has(name)) throw new UsageError(`The peer "${name}" is named twice`);
    seen.add(name);
    const host = sshHosts.get(name) ?? name;
    const container = containers.get(name) ?? targets.container;
    if (container !== undefined && !containerName.test(container)) {
      throw new UsageError(`"${container}" is not the name of a container`);
    }
    const local = host === "localhost" && container !== undefined;
    if (!local && !isSshTarget(host)) {
      throw new UsageError(`"${host}" is not a host that ssh could reach`, {
        next: "Give a name, an address, user@host, or a Host of ~/.ssh/config",
      });
    }
    return {
      name,
      dialled: dialledNames(name),
      transport: local ? localTransport : sshTransport(host, ssh),
      sshHost: local ? undefined : host,
      container,
      isSelf: false,
    };
  });
}

/** Without the user, and without the brackets of an IPv6 address. */
function dialledNames(peer: string): string[] {
  const host = peer.slice(peer.lastIndexOf("@") + 1).replace(/^\[(.*)\]$/, "$1");
  return host === "localhost" ? [] : [host];
}

function mapping(
  option: string,
  pairs: Readonly<Record<string, string>>,
  peers: string[],
): Map<string, string> {
  const found = new Map<string, string>();
  for (const [peer, value] of Object.entries(pairs)) {
    if (!peers.includes(peer)) {
      throw new UsageError(`"${option} ${peer}=${value}" names a peer that is not to be deployed`, {
        next: `Peers are ${peers.map((each) => `"${each}"`).join(", ")}`,
      });
    }
    found.set(peer, value);
  }
  return found;
}

/** This host, as one more peer. */
export function selfPeer(hostname: string): Peer {
  return {
    name: hostname,
    dialled: [],
    transport: localTransport,
    sshHost: undefined,
    container: undefined,
    isSelf: true,
  };
}
