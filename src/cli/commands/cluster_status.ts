import { exitCode } from "../../base/errors.ts";
import type { ClusterView } from "../../mesh/cluster_view.ts";
import { command } from "../command.ts";
import { nodeClientGrants, nodeSettings, withNode } from "../node_connect.ts";
import { clusterLine, nodeTable } from "../output/cluster_table.ts";
import { colors, widthOf } from "../output/terminal.ts";
import { readCluster, watchCluster } from "../output/watch_cluster.ts";
import type { Env } from "../../base/env.ts";

export default command({
  path: "cluster status",
  summary: "Show the cluster as this host's node sees it",
  description: `A node is reachable while its last direct answer is under 10 seconds old. The master
    is the reachable node with the lowest id; it only marks and aggregates.`,
  options: {
    watch: { kind: "flag", help: "Show it again as it changes, until Ctrl-C" },
  },
  ...nodeSettings,
  examples: [
    { line: "agent cluster status", does: "All nodes, and what is wrong with them" },
    { line: "agent cluster status --watch", does: "The same, kept up to date" },
    { line: "agent cluster status --json", does: "The document of GET /api/cluster" },
  ],
  exits: { 3: "A node is not reachable or in conflict" },
  streams: true,
  grants: nodeClientGrants,
  run: (request) =>
    withNode(request, async (node) => {
      const { env, json, options } = request;
      if (options.watch) {
        await watchCluster(node, request, (view, width) => rendered(view, width, env));
        return undefined;
      }
      const view = await readCluster(node);
      await env.stdout.write(
        json ? JSON.stringify(view, null, 2) + "\n" : rendered(view, widthOf(env.stdout), env),
      );
      return view;
    }),
  exit: (view) =>
    view === undefined || view.nodes.every(({ state }) => state === "reachable")
      ? exitCode.done
      : exitCode.attention,
});

function rendered(view: ClusterView, width: number | undefined, env: Env): string {
  const paint = colors(env.stdout);
  const context = { colors: paint, width, now: env.clock.now() };
  return `${clusterLine(view, paint)}\n\n${nodeTable(view, context)}`;
}
