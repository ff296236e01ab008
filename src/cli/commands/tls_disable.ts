import { pkiOf } from "../../pki/directory/context.ts";
import { tlsGrants } from "../../sandbox/tls.ts";
import { command } from "../command.ts";

export default command({
  path: "tls disable",
  summary: "Turn TLS off for the agent servers of this host; keep all files",
  options: {},
  examples: [{ line: "agent tls disable", does: "Turn it on again with tls enable" }],
  grants: ({ env }) => tlsGrants(env),
  run: async ({ env }) => {
    const { disable } = await import("../../pki/operations/switch.ts");
    const { root, enabled, changed } = await disable(pkiOf(env));
    return { directory: root, enabled, changed };
  },
  text: ({ changed }) =>
    changed
      ? [
        "TLS is off. Next: restart the running agent servers of this host",
        "Back on: agent tls enable",
      ].join("\n")
      : "TLS was already off. To turn it on: agent tls enable",
});
