import type { Env } from "../../base/env.ts";
import { messageOf } from "../../base/errors.ts";
import type { ClusterView } from "../../mesh/cluster_view.ts";
import type { NodeClient } from "../../mesh/node_client.ts";
import { openTerminalView, pause } from "./terminal_view.ts";

/** Nodes ask each other every 5 s. */
const askMs = 2_000;

export async function readCluster(node: NodeClient): Promise<ClusterView> {
  return await node.call("GET", "/api/cluster") as ClusterView;
}

/** Shows the cluster as it changes until the signal aborts: a view on a terminal, else JSON lines. */
export async function watchCluster(
  node: NodeClient,
  { env, json }: { env: Env; json: boolean },
  render: (view: ClusterView, width: number | undefined) => string,
): Promise<void> {
  let shown = await readCluster(node);
  if (json || !env.stdout.isTerminal) {
    while (!env.signal.aborted) {
      await env.stdout.write(json ? JSON.stringify(shown) + "\n" : render(shown, undefined) + "\n");
      await pause(env, askMs, env.signal);
      if (!env.signal.aborted) shown = await readCluster(node);
    }
    return;
  }
  let failure = "";
  const view = openTerminalView(env, ({ columns }) => render(shown, columns) + failure);
  try {
    while (!env.signal.aborted) {
      await pause(env, askMs, env.signal);
      try {
        if (!env.signal.aborted) shown = await readCluster(node);
        failure = "";
      } catch (error) {
        failure = `\n${messageOf(error)}\n`;
      }
      view.changed();
    }
  } finally {
    await view.close();
  }
}
