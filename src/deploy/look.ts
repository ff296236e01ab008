/** Looks at a peer and changes nothing: which shell is its own, and what is there. */
import { UserError } from "../base/errors.ts";
import {
  type DeployOptions,
  elevationOf,
  lastLine,
  type Peer,
  refuseUnreachable,
  Unreachable,
  wantsRoot,
} from "./peer.ts";
import { type Facts, preflightScript, readFacts } from "./preflight.ts";
import { type Elevation, inContainer, run, type Transport } from "./remote.ts";

/** The script takes a second; on a host that swaps it takes longer. */
const lookMs = 30_000;

/**
 * Finds the container that is the peer. Prints the engine by its path: the PATH of a login shell
 * often lacks /usr/local/bin.
 */
const containerScript = `PATH=$PATH:/usr/local/bin
for e in docker podman; do
  engine=$(command -v $e) || continue
  state=$("$engine" inspect -f '{{.State.Running}}' "$name" 2>/dev/null) || continue
  echo "$state $engine"
  exit
done`;

/** The peer's own shell, or that of the container on it. */
export async function transportOf(peer: Peer, options: DeployOptions): Promise<Transport> {
  if (peer.container === undefined) return peer.transport;
  const { clock, signal } = options;
  const variables = { name: peer.container };
  const ran = await run(peer.transport, containerScript, {
    variables,
    timeoutMs: lookMs,
    clock,
    signal,
  });
  refuseUnreachable(peer, ran);
  const [, running, engine] = /^(true|false) (\/.*)$/m.exec(ran.stdout) ?? [];
  if (engine === undefined) {
    throw new UserError(`there is no container "${peer.container}" on it that this user can see`, {
      next: "Look with: docker ps (as the same user); name another with --container-host PEER=NAME",
    });
  }
  if (running === "false") {
    throw new UserError(`the container "${peer.container}" does not run`, {
      next: `${engine} start ${peer.container}`,
    });
  }
  return inContainer(peer.transport, engine, peer.container);
}

/** Looks as the user who logs in, then as root if that is wanted. */
export async function look(
  peer: Peer,
  transport: Transport,
  options: DeployOptions,
): Promise<Facts> {
  const plain = await lookAs(peer, transport, options, undefined);
  if (!wantsRoot(peer, options) || plain.root === "is") return plain;
  const elevation = elevationOf(peer, plain, options);
  if (elevation === undefined) throw sudoError(plain, "", false);
  try {
    return { ...await lookAs(peer, transport, options, elevation), root: plain.root };
  } catch (error) {
    if (!(error instanceof CutOff)) throw error;
    throw sudoError(plain, error.printed, options.sudoPassword !== undefined);
  }
}

/** The script ended before its last line. */
class CutOff extends UserError {
  override name = "CutOff";
  constructor(message: string, readonly printed: string, next: string) {
    super(message, { next });
  }
}

async function lookAs(
  peer: Peer,
  transport: Transport,
  { wanted, clock, signal }: DeployOptions,
  elevation: Elevation,
): Promise<Facts> {
  const ran = await run(transport, preflightScript, {
    variables: { want_sum: wanted.binary?.sha256 },
    ...elevation && { elevation },
    timeoutMs: lookMs,
    clock,
    signal,
  });
  refuseUnreachable(peer, ran);
  if (ran.code === 124) throw new Unreachable(`it does not answer: ${ran.stderr}`);
  const facts = readFacts(ran.stdout);
  if (facts !== undefined) return facts;
  const reason = lastLine(ran.stderr);
  throw new CutOff(
    `the check of this host did not finish${reason === "" ? "" : `: ${reason}`}`,
    reason,
    peer.sshHost === undefined ? "Run this again" : `ssh ${peer.sshHost} sh -c true`,
  );
}

function sudoError(facts: Facts, printed: string, asked: boolean): UserError {
  if (facts.root === "none") {
    return new UserError(`"${facts.user}" has neither sudo nor doas there`, {
      next: "Log in as root or as another user with --ssh-user",
    });
  }
  if (asked || facts.root !== "password") {
    return new UserError(`${facts.root === "doas" ? "doas" : "sudo"} refuses there: ${printed}`, {
      next: "Check the password, and that the user may use sudo for everything",
    });
  }
  return new UserError(`sudo asks for a password of "${facts.user}" there`, {
    next: "Use --ask-sudo",
  });
}
