import { command } from "../command.ts";
import { nodeClientGrants, nodeSettings, withNode } from "../node_connect.ts";

export default command({
  path: "token url",
  summary: "Print a login URL of the web UI, for one login within 10 minutes",
  description:
    "The node must be running. Send the URL only to the person that it is for: the first " +
    "to open it is logged in.",
  options: {},
  ...nodeSettings,
  examples: [{ line: "agent token url", does: "Open the printed address in a browser" }],
  grants: nodeClientGrants,
  run: (request) =>
    withNode(
      request,
      async (node) =>
        await node.call("POST", "/api/session/url") as { url: string; expires_at: string },
    ),
  text: ({ url }) => url,
});
