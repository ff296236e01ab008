import { printable } from "../../base/printable.ts";
import { errorFacts, exitCode } from "../../base/errors.ts";
import { idleTls, peerMode, type PeerRole } from "../../config/peer_mode.ts";
import { type Config, configSections } from "../../config/schema.ts";
import { command } from "../command.ts";
import { counted } from "../output/format.ts";
import { colors } from "../output/terminal.ts";

export default command({
  path: "config check",
  summary: "Check the configuration file, the environment and flags",
  description:
    `Lists every problem, where roles and commands stop at the first one, and says how each
    of them would talk to its peers. Unknown variables that begin with AGENT_ are listed too: they
    are ignored, but may be misspelt.`,
  options: {},
  config: configSections,
  lenient: true,
  examples: [
    { line: "agent config check", does: "Check what applies to this user" },
    { line: "agent config check --config /etc/agent/config.yaml", does: "Check another file" },
  ],
  exits: {
    2: "A problem was found, or no role could start",
    3: "Plaintext to or from other hosts would be refused",
  },
  run: ({ config, findings }) => {
    const idle = idleTls(config);
    return {
      file: config.file ?? null,
      problems: findings?.problems ?? [],
      warnings: [...findings?.warnings ?? [], ...idle === undefined ? [] : [idle]],
      unknown_variables: findings?.unknownVariables ?? [],
      peers: (findings?.problems.length ?? 0) > 0
        ? []
        : rolesOf(config).map((role) => peersOf(config, role)),
    };
  },
  // A coordinator that could not start is no problem on a host that has only workers.
  exit: ({ problems, peers }) => {
    if (problems.length > 0) return exitCode.usage;
    if (peers.some(({ code }) => code === "plaintext_refused")) return exitCode.attention;
    return peers.every(({ code }) => code !== undefined) ? exitCode.usage : exitCode.done;
  },
  text: ({ file, problems, warnings, unknown_variables, peers }, { env }) => {
    const paint = colors(env.stdout);
    const hint = (next?: string) => next === undefined ? [] : [`  next: ${next}`];
    return [
      `Configuration file: ${file ?? "none"}`,
      ...problems.flatMap(({ message, next }) => [
        `${paint.red("problem")}: ${printable(message)}`,
        ...hint(next),
      ]),
      ...warnings.map((text) => `${paint.yellow("warning")}: ${printable(text)}`),
      ...unknown_variables.flatMap(({ name, nearest }) => [
        `${paint.yellow("unknown")}: ${printable(name)} is ignored`,
        ...hint(nearest && `Did you mean "${nearest}"?`),
      ]),
      ...peers.flatMap(({ role, mode, refused, next }) => [
        `As ${role}: ${mode === undefined ? `would not start: ${refused}` : mode}`,
        ...hint(next),
      ]),
      problems.length > 0
        ? `${counted(problems.length, "problem")} to fix`
        : `The configuration is valid${
          peers.some(({ refused }) => refused) ? ", but not every role could start" : ""
        }`,
    ].join("\n");
  },
});

/** A node dials coordinators only if `node.coordinators` names some. */
function rolesOf({ values }: Config): PeerRole[] {
  const all: PeerRole[] = ["coordinator", "worker", "client"];
  return values["node.coordinators"].length === 0 ? all : [...all, "node"];
}

function peersOf(config: Config, role: PeerRole) {
  try {
    return { role, mode: peerMode(config, role).mode };
  } catch (error) {
    const { message, code, next } = errorFacts(error);
    return { role, refused: message, code, next };
  }
}
