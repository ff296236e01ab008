import { UserError } from "../../base/errors.ts";
import { printable } from "../../base/printable.ts";
import { command } from "../command.ts";
import { nodeClientGrants, nodeSettings, withNode } from "../node_connect.ts";
import { readCluster } from "../output/watch_cluster.ts";

export default command({
  path: "cluster forget",
  summary: "Remove a node that is gone for good from all lists",
  description:
    `Only an unreachable node can be forgotten. The other nodes forget it too, within a few
    seconds. A node that comes back is a member again.`,
  args: [{ name: "ID", help: "Id of the node, the start of it, or its name", required: true }],
  options: {},
  ...nodeSettings,
  examples: [{ line: "agent cluster forget gpu7", does: "Forget a host that was sold" }],
  grants: nodeClientGrants,
  run: (request) =>
    withNode(request, async (node) => {
      const typed = request.args[0]!;
      const { nodes } = await readCluster(node);
      const found = nodes.filter(({ id, name, self }) =>
        !self && (id.startsWith(typed) || name === typed)
      );
      const [first] = found;
      if (first === undefined || found.length > 1) {
        throw new UserError(
          first === undefined ? `No other node is called "${typed}"` : `"${typed}" is not unique`,
          { code: "not_found", next: "agent cluster nodes lists all with their ids" },
        );
      }
      await node.call("DELETE", `/api/cluster/nodes/${encodeURIComponent(first.id)}`);
      return { id: first.id, name: first.name };
    }),
  text: ({ id, name }) => `Forgot "${printable(name)}" (${id})`,
});
