import { dirname, resolve } from "node:path";
import { splitHost } from "../../base/address.ts";
import { UsageError, UserError } from "../../base/errors.ts";
import { selfCommand } from "../../base/self.ts";
import type { ConfigKey } from "../../config/schema.ts";
import type { PeerResult } from "../../deploy/peer.ts";
import { identityFiles } from "../../pki/directory/identity_files.ts";
import { certificateRoles } from "../../pki/x509/roles.ts";
import { tlsGrants } from "../../sandbox/tls.ts";
import { askSudoPassword } from "../ask_password.ts";
import { command } from "../command.ts";
import { peerLine, peerView, printNext } from "../output/deploy_results.ts";
import { progressOf } from "../output/progress.ts";

export default command({
  path: "tls deploy",
  summary: "Provision other hosts over ssh with certificates of this CA",
  description:
    "Checks every peer first, then changes only what differs: the certificate, the trust " +
    "in this CA, the cluster's token, and with --push-binary and --service the executable and a " +
    "service. A key that a peer makes never leaves it. You can run it again at any time, also to " +
    "complete an interrupted run. Uses the system's ssh with your configuration, keys and known " +
    "hosts.",
  args: [{
    name: "PEER",
    repeat: true,
    help: "Anything that ssh can resolve; without one, the nodes that the local node knows",
  }],
  rest: {
    placeholder: "FLAGS…",
    help: "Flags for the role that --service installs; without others a node gets -H 0.0.0.0 " +
      "and --cluster default",
  },
  options: {
    dryRun: { kind: "flag", help: "Show what would be done, and change nothing" },
    force: {
      kind: "flag",
      help: "Replace state of another CA, and issue again where nothing differs",
    },
    batch: { kind: "flag", help: "Never ask for anything" },
    sshUser: {
      kind: "text",
      placeholder: "USER",
      help: "User to log in as; by default ssh chooses",
    },
    sshHost: {
      kind: "pair",
      placeholder: "PEER=HOST",
      repeat: true,
      help: "Destination for ssh for a peer",
    },
    container: {
      kind: "text",
      placeholder: "NAME",
      help: "The peers are containers of this name on their hosts",
    },
    containerHost: {
      kind: "pair",
      placeholder: "PEER=NAME",
      repeat: true,
      help: "A peer is the container NAME on its host",
    },
    pushBinary: { kind: "flag", help: "Copy this executable to peers that have another version" },
    binary: {
      kind: "path",
      placeholder: "FILE",
      help: "The executable to copy instead, for another architecture",
    },
    allowDowngrade: {
      kind: "flag",
      help: "Let --push-binary or --binary replace a newer version by an older one",
    },
    service: {
      kind: "choice",
      choices: ["node", "worker", "coordinator"],
      help: "Install and start this role as a service",
    },
    role: {
      kind: "choice",
      choices: certificateRoles,
      help: "Limit what the certificate may be used for",
    },
    sudo: { kind: "flag", help: "Become root on the peers with sudo or doas, without a question" },
    askSudo: { kind: "flag", help: "Ask once for the sudo password of the peers" },
    acceptNewHosts: {
      kind: "flag",
      help: "Accept host keys that are not known yet; changed ones are still refused",
    },
    parallel: { kind: "integer", min: 1, max: 100, default: 10, help: "Peers at once" },
    rolling: {
      kind: "flag",
      help: "One peer after the other: wait until its roles are healthy, stop at the first failure",
    },
    drain: {
      kind: "duration",
      placeholder: "TIME",
      default: 10 * 60_000,
      help: "How long a worker's tasks may take to end before it is restarted",
    },
  },
  examples: [
    { line: "agent tls deploy b.lan c.lan", does: "Certificates for two hosts" },
    {
      line: "agent tls deploy --push-binary --service node b.lan c.lan -- --cluster lab",
      does: "From bare sshd to a running mesh",
    },
    { line: "agent tls deploy --dry-run b.lan", does: "Show what differs there" },
    {
      line: "agent tls deploy --push-binary --rolling b.lan c.lan",
      does: "Upgrade hosts one by one",
    },
    {
      line: "agent tls deploy --container agent-web web1.lan",
      does: "The peer is a container on web1.lan",
    },
  ],
  exits: { 1: "A peer failed or could not be reached", 3: "A question without a terminal" },
  // Time for the scripts on peers to remove their locks and temporary files.
  graceMs: 5_000,
  prepare: async ({ args, options, rest }): Promise<Prepared> => {
    const { makeScratch } = await import("../../deploy/run.ts");
    const service = await serviceOf(options.service, rest);
    const peers = args.length > 0 ? args : await knownNodes();
    makeScratch();
    return { peers, serviceArgs: service.args, serviceFlags: service.flags };
  },
  grants: async ({ options, args, env }) => {
    const { ownExecutable, scratchFolder } = await import("../../deploy/run.ts");
    const scratch = scratchFolder();
    const { token } = identityFiles(env);
    const grants = await tlsGrants(env, {
      write: [token],
      folders: [scratch],
      read: [
        dirname(token),
        ...options.binary === undefined ? [] : [resolve(options.binary)],
        ...options.pushBinary ? [ownExecutable()] : [],
      ],
    });
    return {
      ...grants,
      run: args.includes("localhost") || options.service === "node" ? ["ssh", "sh"] : ["ssh"],
    };
  },
  run: async (request) => {
    const { deployAll } = await import("../../deploy/run.ts");
    const { env, json, options } = request;
    const { peers: args, serviceArgs, serviceFlags } = request.prepared as Prepared;
    const self = Deno.hostname();
    const names = options.service === "node" ? [...args, self] : args;
    const width = Math.max(...names.map((name) => name.length));
    const progress = progressOf(env.stdout, json ? [] : names);
    const { readToken } = await import("../../mesh/identity.ts");
    const results = await deployAll({
      ...request,
      args,
      self,
      serviceArgs,
      serviceFlags,
      token: readToken(identityFiles(env).token),
      askPassword: () => askSudoPassword(env),
      progress: {
        doing: (peer, what) => progress.doing(peer, what),
        done: (result) =>
          json
            ? env.stdout.write(`${JSON.stringify(peerView(result))}\n`)
            : progress.done(result.peer, peerLine(result, width, options.dryRun)),
      },
    });
    if (!json) await printNext(results, env);
    return { peers: results };
  },
  streams: true,
  exit: ({ peers }) => peers.some(isBad) ? 1 : 0,
});

/** What the main thread finds out first. */
interface Prepared {
  peers: string[];
  serviceArgs: string[];
  serviceFlags: string[] | undefined;
}

/**
 * What a service is installed with: the flags after "--" and those that make its role reachable for the
 * others; and the same as `agent service install` passes them on, to compare them with those of the
 * process. The latter are undefined if there is a path among them: a relative one means another file
 * on each peer.
 */
async function serviceOf(
  role: string | undefined,
  words: string[],
): Promise<{ args: string[]; flags: string[] | undefined }> {
  if (role === undefined) {
    if (words.length === 0) return { args: [], flags: undefined };
    throw new UsageError('What follows "--" are flags for a service, and there is no --service', {
      next: "Name the role: --service node|worker|coordinator",
    });
  }
  const [{ default: spec, roleFlags }, { parse }, { settingsFor }, { settingOf }] = await Promise
    .all([
      import("./service_install.ts"),
      import("../parse.ts"),
      import("../settings.ts"),
      import("../../config/schema.ts"),
    ]);
  const given = parse(spec, [role, ...words]).config;
  const missing = reachable[role]?.filter(([key]) => !given.has(key)) ?? [];
  const args = [...words, ...missing.flatMap(([, flags]) => flags)];
  const parsed = parse(spec, [role, ...args]);
  const { config } = await settingsFor({ ...spec, lenient: true }, parsed);
  const hasPath = [...parsed.config.keys()].some((key) => settingOf(key).kind === "path");
  return { args, flags: hasPath ? undefined : roleFlags(config, role) };
}

/** By role: the settings that make it reachable for the others, and their flags. */
const reachable: Record<string, [key: ConfigKey, flags: string[]][]> = {
  node: [["node.host", ["-H", "0.0.0.0"]], ["node.cluster", ["--cluster", "default"]]],
  coordinator: [
    ["coordinator.host", ["--coordinator.host=0.0.0.0"]],
    ["peer.insecure", ["--peer.insecure=false"]],
  ],
};

/**
 * The other nodes of the cluster, by the address that they advertise. Asked by a process of its own:
 * what holds the CA's key does not talk to the network.
 */
async function knownNodes(): Promise<string[]> {
  const { command, args } = selfCommand();
  const ran = await new Deno.Command(command, { args: [...args, "cluster", "nodes", "--json"] })
    .output();
  if (!ran.success) {
    const said = reasonIn(new TextDecoder().decode(ran.stderr));
    throw new UserError(`No peer was named, and the local node did not answer: ${said}`, {
      next: "Name the peers: agent tls deploy PEER…",
    });
  }
  const { nodes } = JSON.parse(new TextDecoder().decode(ran.stdout)) as {
    nodes: { address: string; self: boolean }[];
  };
  const hosts = nodes.filter(({ self }) => !self).map(({ address }) => splitHost(address).host);
  if (hosts.length > 0) return [...new Set(hosts)];
  throw new UserError("No peer was named, and the local node knows no other node", {
    next: "Name the peers: agent tls deploy PEER…",
  });
}

/** The message of an error that another agent printed as JSON; what else it printed as it is. */
function reasonIn(stderr: string): string {
  try {
    return JSON.parse(stderr).error.message;
  } catch {
    return stderr.trim();
  }
}

function isBad({ state }: PeerResult): boolean {
  return state === "failed" || state === "unreachable";
}
