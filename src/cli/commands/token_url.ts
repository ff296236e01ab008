import { command } from "../command.ts";
import { nodeClientGrants, nodeSettings, withNode } from "../node_connect.ts";

export default command({
  path: "token url",
  summary: "Print a login URL of the web UI, for one login within 10 minutes",
  description: `The node has to run. Send the URL only to the person who is meant: whoever opens it
    first is logged in.`,
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
