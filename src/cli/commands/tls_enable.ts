import { pkiOf } from "../../pki/directory/context.ts";
import { tlsGrants } from "../../sandbox/tls.ts";
import { command } from "../command.ts";

export default command({
  path: "tls enable",
  summary: "Turn TLS on for the agent servers of this host",
  options: {},
  examples: [{ line: "agent tls enable", does: "Takes effect when servers are restarted" }],
  grants: ({ env }) => tlsGrants(env),
  run: async ({ env }) => {
    const { enable } = await import("../../pki/operations/switch.ts");
    const { root, enabled, changed } = await enable(pkiOf(env));
    return { directory: root, enabled, changed };
  },
  text: ({ changed }) =>
    changed
      ? "TLS is on. Next: restart the running agent servers of this host"
      : "TLS was already on. Next: agent tls status",
});
