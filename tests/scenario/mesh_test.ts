/** Nodes on hosts of their own that find each other, as people run them. */
import assert from "node:assert/strict";
import { component, programs } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";
import { type Host, hostsCheck, startHosts } from "../support/hosts.ts";

const ready = await component("several hosts on one machine", ...hostsCheck, programs("curl"));

interface SeenNode {
  id: string;
  name: string;
  state: string;
  role: string;
  self: boolean;
  warnings: string[];
  error: string | null;
}
interface Seen {
  master_node_id: string;
  cut_off: boolean;
  nodes: SeenNode[];
}

async function seen(host: Host): Promise<Seen> {
  const { stdout, stderr } = await host.run("agent cluster status --json");
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as Seen;
}

/** `a:reachable b:reachable …`, by name. */
function states({ nodes }: Seen): string {
  return nodes.map(({ name, state }) => `${name}:${state}`).sort().join(" ");
}

async function sees(host: Host, wanted: string, withinMs = 20_000): Promise<Seen> {
  return await eventually(withinMs, async () => {
    const view = await seen(host);
    if (states(view) === wanted) return view;
    throw new Error(`${host.name} sees ${states(view)}, not ${wanted}: ${JSON.stringify(view)}`);
  });
}

/** Who is master on every node: the lowest id of those that are reachable. */
function lowestId({ nodes }: Seen): string | undefined {
  return nodes.filter(({ state }) => state === "reachable").map(({ id }) => id).sort()[0];
}

/** The manual bring-up: init on the first, mint and install for the others. */
async function certify(first: Host, others: Host[]): Promise<void> {
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

const start = (host: Host, more = "") =>
  host.start(`agent node -H 0.0.0.0 --cluster lab --node.health-port=0 ${more}`);

Deno.test({
  name: "hosts on one network find each other, see who goes and who comes back",
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "b", "c", "d"]);
    const { a, b, c, d } = hosts;
    await certify(a, [b, c, d]);
    await using _nodeA = await start(a);
    await using _nodeB = await start(b);
    const nodeC = await start(c);
    try {
      const all = "a:reachable b:reachable c:reachable";
      const views = await Promise.all([a, b, c].map((host) => sees(host, all)));
      for (const view of views) assert.equal(view.master_node_id, lowestId(view));
      for (const view of views) {
        assert.deepEqual(view.nodes.flatMap(({ warnings }) => warnings), []);
      }

      // A fourth joins with no restart.
      await using _nodeD = await start(d);
      const four = `${all} d:reachable`;
      await Promise.all(hosts.list.map((host) => sees(host, four)));

      // One is killed: red on the others, and only that one.
      nodeC.kill();
      await nodeC.exit;
      const without = "a:reachable b:reachable c:unreachable d:reachable";
      const after = await Promise.all([a, b, d].map((host) => sees(host, without)));
      assert.ok(after.every(({ cut_off: cutOff }) => !cutOff));
      for (const view of after) assert.equal(view.master_node_id, lowestId(view));

      // It comes back under the same id.
      await using _again = await start(c);
      const back = await Promise.all(hosts.list.map((host) => sees(host, four)));
      for (const view of back) assert.equal(view.master_node_id, lowestId(view));

      // Cut off: it says so itself, and the others turn it red.
      await d.ok("ip link set eth0 down");
      await Promise.all(
        [a, b, c].map((host) => sees(host, "a:reachable b:reachable c:reachable d:unreachable")),
      );
      await eventually(20_000, async () => (await seen(d)).cut_off);
      assert.equal(states(await seen(d)), four);
      await d.ok("ip link set eth0 up; ip route add 224.0.0.0/4 dev eth0 || true");
      await Promise.all(hosts.list.map((host) => sees(host, four)));
      await eventually(20_000, async () => !(await seen(d)).cut_off);
    } finally {
      await nodeC[Symbol.asyncDispose]();
    }
  },
});

Deno.test({
  name: "without multicast, one configured peer is enough to find all",
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "b", "c"]);
    const { a, b, c } = hosts;
    await certify(a, [b, c]);
    const peer = "--no-node.mdns --peer a.lan";
    await using _a = await start(a, "--no-node.mdns");
    await using _b = await start(b, peer);
    await using _c = await start(c, peer);
    const all = "a:reachable b:reachable c:reachable";
    await Promise.all(hosts.list.map((host) => sees(host, all)));
  },
});
