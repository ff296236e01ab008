import { command } from "../command.ts";
import { nodeClientGrants, nodeSettings, withNode } from "../node_connect.ts";
import { nodeTable } from "../output/cluster_table.ts";
import { colors, widthOf } from "../output/terminal.ts";
import { readCluster, watchCluster } from "../output/watch_cluster.ts";

export default command({
  path: "cluster nodes",
  summary: "List the nodes of the cluster",
  options: {
    watch: { kind: "flag", help: "Show the list again as it changes, until Ctrl-C" },
  },
  ...nodeSettings,
  examples: [
    { line: "agent cluster nodes", does: "One line for each node" },
    { line: "agent cluster nodes --json", does: "The same for programs" },
  ],
  streams: true,
  grants: nodeClientGrants,
  run: (request) =>
    withNode(request, async (node) => {
      const { env, json, options } = request;
      const paint = colors(env.stdout);
      if (options.watch) {
        return await watchCluster(node, request, (view, width) =>
          nodeTable(view, { colors: paint, width, now: env.clock.now() }));
      }
      const view = await readCluster(node);
      const context = { colors: paint, width: widthOf(env.stdout), now: env.clock.now() };
      await env.stdout.write(
        json ? JSON.stringify({ nodes: view.nodes }, null, 2) + "\n" : nodeTable(view, context),
      );
    }),
});
