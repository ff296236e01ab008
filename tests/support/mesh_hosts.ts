/** Hosts whose nodes form a cluster, for tests that look at it from all sides. */
import { eventually } from "./eventually.ts";
import type { Host } from "./hosts.ts";

export interface SeenNode {
  id: string;
  name: string;
  state: string;
  role: string;
  self: boolean;
  warnings: string[];
  error: string | null;
  shared_identity: boolean;
  addresses: string[];
}
export interface Seen {
  master_node_id: string;
  cut_off: boolean;
  nodes: SeenNode[];
}

export async function seen(host: Host): Promise<Seen> {
  const { stdout, stderr } = await host.run("agent cluster status --json");
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as Seen;
}

/** `a:reachable b:reachable …`, by name. */
export function states({ nodes }: Seen): string {
  return nodes.map(({ name, state }) => `${name}:${state}`).sort().join(" ");
}

export async function sees(host: Host, wanted: string, withinMs = 20_000): Promise<Seen> {
  return await eventually(withinMs, async () => {
    const view = await seen(host);
    if (states(view) === wanted) return view;
    throw new Error(`${host.name} sees ${states(view)}, not ${wanted}: ${JSON.stringify(view)}`);
  });
}

/** Who is master on every node: the lowest id of those that are reachable. */
export function lowestId({ nodes }: Seen): string | undefined {
  return nodes.filter(({ state }) => state === "reachable").map(({ id }) => id).sort()[0];
}

/** The manual bring-up: init on the first, mint and install for the others. */
export async function certify(first: Host, others: Host[]): Promise<void> {
  await first.ok("agent tls init");
  for (const other of others) {
    await first.ok(
      `agent tls mint -o /tmp/${other.name} && cd /tmp/${other.name} &&
       ssh ${other.name}.lan 'mkdir -m 700 -p /tmp/tls' &&
       scp -pq server.crt server.key ca.crt ${other.name}.lan:/tmp/tls/`,
    );
    await other.ok(
      "cd /tmp/tls && agent tls install --cert server.crt --key server.key --ca ca.crt",
    );
  }
}

export const startNode = (host: Host, more = "") =>
  host.start(`agent node -H 0.0.0.0 --cluster lab --node.health-port=0 ${more}`);
