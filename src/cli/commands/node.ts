import { nodeTls } from "../../roles/node_tls.ts";
import { nodeGrants } from "../../sandbox/roles.ts";
import { makeConfigFolder } from "../../sandbox/tls.ts";
import { role } from "../command.ts";

export default role({
  path: "node",
  summary: "Join the cluster, and serve its UI and REST API",
  description:
    `Serves until it is stopped. Nodes of one cluster find each other by multicast, and by
    --peer where there is none; any of them shows all.

    It serves HTTPS where the TLS directory has a certificate (agent tls init or install), or with
    --tls-cert and --tls-key. Beyond this host it does not start without, unless --insecure says that
    plain HTTP is meant, as behind a proxy that ends TLS.

    The login URL that it prints is good for one login within 10 minutes; agent token url prints
    another.`,
  options: {},
  config: ["node", "peer", "log"],
  shortFlags: "node",
  examples: [
    { line: "agent node", does: "For this host only" },
    { line: "agent node -H 0.0.0.0 --cluster lab", does: "On every host of a cluster" },
    {
      line: "agent node -H 0.0.0.0 --cluster lab --peer gpu1.lan:8765",
      does: "In networks without multicast",
    },
    {
      line: "agent node --node.coordinators=build1.lan:50055 --peer.insecure=false",
      does: "With the tasks of that coordinator",
    },
    { line: "agent node --no-tls --insecure -H 0.0.0.0", does: "Behind a proxy that ends TLS" },
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
    port.postMessage(await nodeTls(config, env));
  },
});
