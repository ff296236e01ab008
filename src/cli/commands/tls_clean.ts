import { Refusal } from "../../base/errors.ts";
import { pkiOf } from "../../pki/directory/context.ts";
import { tlsRoot } from "../../pki/directory/settings.ts";
import { tlsGrants } from "../../sandbox/tls.ts";
import { command } from "../command.ts";

export default command({
  path: "tls clean",
  summary: "Remove this host's CA, certificates and keys permanently",
  description: "Keeps files elsewhere that config.yaml names, the token and the node id.",
  options: { yes: { kind: "flag", help: "Confirm the removal" } },
  examples: [{ line: "agent tls clean --yes", does: "When a host leaves the cluster" }],
  exits: { 3: "Not confirmed (--yes does), or the folder contains something else" },
  grants: ({ env }) => tlsGrants(env),
  run: async ({ options, env }) => {
    if (!options.yes) {
      throw new Refusal(
        `This removes "${tlsRoot(env)}" with all keys in it; they cannot be restored`,
        { next: "agent tls clean --yes" },
      );
    }
    const { clean } = await import("../../pki/operations/clean.ts");
    const { root, removed } = await clean(pkiOf(env));
    return { directory: root, removed };
  },
  text: ({ directory, removed }) =>
    removed
      ? [
        `Removed ${directory}`,
        "Next: restart or stop the agent servers of this host; to start again: agent tls init",
      ].join("\n")
      : `There is nothing at ${directory}. To set up TLS: agent tls init`,
});
