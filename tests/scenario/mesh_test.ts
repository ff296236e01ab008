/** Nodes on hosts of their own that find each other, as people run them. */
import assert from "node:assert/strict";
import { component, programs } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";
import { hostsCheck, startHosts } from "../support/hosts.ts";
import { certify, lowestId, seen, sees, startNode, states } from "../support/mesh_hosts.ts";

const ready = await component("several hosts on one machine", ...hostsCheck, programs("curl"));

Deno.test({
  name: "hosts on one network find each other, see who goes and who comes back",
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "b", "c", "d"]);
    const { a, b, c, d } = hosts;
    await certify(a, [b, c, d]);
    await using _nodeA = await startNode(a);
    await using _nodeB = await startNode(b);
    const nodeC = await startNode(c);
    try {
      const all = "a:reachable b:reachable c:reachable";
      const views = await Promise.all([a, b, c].map((host) => sees(host, all)));
      for (const view of views) assert.equal(view.master_node_id, lowestId(view));
      for (const view of views) {
        assert.deepEqual(view.nodes.flatMap(({ warnings }) => warnings), []);
      }

      // A fourth joins with no restart.
      await using _nodeD = await startNode(d);
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
      await using _again = await startNode(c);
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
    await using _a = await startNode(a, "--no-node.mdns");
    await using _b = await startNode(b, peer);
    await using _c = await startNode(c, peer);
    const all = "a:reachable b:reachable c:reachable";
    await Promise.all(hosts.list.map((host) => sees(host, all)));
  },
});
