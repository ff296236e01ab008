/**
 * One host of a cluster loses a fifth of its packets. For a quarter of a minute, or as long as
 * AGENT_LOSS_MINUTES says: AGENT_LOSS_MINUTES=10 scripts/test tests/scenario/mesh_loss_test.ts
 */
import assert from "node:assert/strict";
import { component, programs } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";
import { type Host, hostsCheck, startHosts } from "../support/hosts.ts";
import { certify, type Seen, sees, startNode } from "../support/mesh_hosts.ts";

const minutes = Number(Deno.env.get("AGENT_LOSS_MINUTES") ?? 0.25);
const lossy = "iptables -A INPUT -i eth0 -m statistic --mode random --probability 0.2 -j DROP";

/** The kernel may lack the module, or forbid it. */
async function randomLoss(): Promise<string | undefined> {
  const { success, stderr } = await new Deno.Command("unshare", {
    args: ["--net", "sh", "-c", lossy],
    stderr: "piped",
  }).output();
  return success ? undefined : `no random loss: ${new TextDecoder().decode(stderr).trim()}`;
}

Deno.test({
  name: "a host that loses 20 % of its packets turns nobody else red",
  ...await component(
    "packets that are lost",
    ...hostsCheck,
    programs("iptables", "curl"),
    randomLoss,
  ),
  async fn() {
    await using hosts = await startHosts(["a", "b", "c"]);
    const { a, b, c } = hosts;
    await certify(a, [b, c]);
    await using _a = await startNode(a);
    await using _b = await startNode(b);
    await using _c = await startNode(c);
    const all = "a:reachable b:reachable c:reachable";
    await Promise.all(hosts.list.map((host) => sees(host, all)));
    await c.ok(lossy);
    const looks = { all: 0, red: 0 };
    const end = performance.now() + minutes * 60_000;
    while (performance.now() < end) {
      for (const view of await Promise.all([a, b].map(cluster))) {
        assert.equal(view.cut_off, false);
        for (const { name, state, error } of view.nodes) {
          if (name !== "c") assert.equal(state, "reachable", `${name}: ${error}`);
          else if (state !== "reachable") looks.red++;
        }
        looks.all++;
      }
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    const said = `c was red in ${looks.red} of ${looks.all} looks\n`;
    await Deno.stderr.write(new TextEncoder().encode(said));
    await c.ok(lossy.replace("-A", "-D"));
    await eventually(30_000, () => Promise.all(hosts.list.map((host) => sees(host, all, 1_000))));
  },
});

/** What the node of a host shows, without the start of a command. */
async function cluster(host: Host): Promise<Seen> {
  return JSON.parse(
    await host.ok(
      'curl -sS --cacert /etc/agent/tls/ca-bundle.crt -H "Authorization: Bearer $(cat /etc/agent/token)" ' +
        "https://localhost:8765/api/cluster?links=false",
    ),
  );
}
