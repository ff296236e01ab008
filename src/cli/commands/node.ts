import { nodeTls, tellTls } from "../../roles/node_tls.ts";
import { nodeGrants } from "../../sandbox/roles.ts";
import { makeConfigFolder } from "../../sandbox/tls.ts";
import { role } from "../command.ts";

export default role({
  path: "node",
  summary: "Join the cluster, and serve its UI and REST API",
  description: `Serves until it is stopped. Nodes of one cluster find each other by multicast, or by
    --peer in networks without it; each node shows the whole cluster.

    HTTPS is on when the TLS directory is enabled (agent tls init or install) or --tls-cert is given.
    Listening beyond this host without TLS, for example behind a proxy, requires --insecure.

    The printed login URL is valid for one login within 10 minutes; agent token url prints a new
    one.`,
  options: {},
  config: ["node", "peer", "log"],
  shortFlags: "node",
  examples: [
    { line: "agent node", does: "Serve this host only" },
    { line: "agent node -H 0.0.0.0 --cluster lab", does: "Run this on every host of a cluster" },
    {
      line: "agent node -H 0.0.0.0 --cluster lab --peer gpu1.lan:8765",
      does: "Find other nodes in a network without multicast",
    },
    {
      line: "agent node --node.coordinators=build1.lan:50055 --peer.insecure=false",
      does: "Show the tasks of that coordinator too",
    },
    {
      line: "agent node --no-tls --insecure -H 0.0.0.0",
      does: "Serve a proxy that terminates TLS",
    },
  ],
  exits: { 3: "Refused to serve plain HTTP beyond this host" },
  entry: "node",
  grants: async ({ config, env }) => {
    const { serve, other, bundle, tokenFile, nodeIdFile } = await nodeTls(config, env);
    const files = [serve?.certFile, serve?.keyFile, other?.certFile, other?.keyFile, bundle];
    return nodeGrants(config, files, { token: tokenFile, nodeId: nodeIdFile });
  },
  beside: async (port, { config, env }) => {
    await makeConfigFolder(env);
    await tellTls(port, config, env);
  },
});
