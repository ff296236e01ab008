/** Clusters with two CAs: by accident, on purpose, and in the middle of a renewal. */
import assert from "node:assert/strict";
import { component } from "../support/component.ts";
import { hostsCheck, startHosts } from "../support/hosts.ts";
import { seen, sees, startNode, states } from "../support/mesh_hosts.ts";

const ready = await component("several hosts on one machine", ...hostsCheck);

Deno.test({
  name: "two CAs: refused with the reason, and one cluster after import-ca on both sides",
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "b"]);
    const { a, b } = hosts;
    await a.ok("agent tls init");
    await b.ok("agent tls init");
    await using node = await startNode(a, "--peer b.lan --log.level debug");
    await using _b = await startNode(b, "--peer a.lan");
    const refused = await a.run(
      `curl -sS --cacert /etc/agent/tls/ca-bundle.crt https://b.lan:8765/api/health`,
    );
    assert.notEqual(refused.code, 0);
    assert.equal(states(await seen(a)), "a:reachable");
    await a.ok("agent tls export-ca -o /tmp/a.crt && scp -q /tmp/a.crt b.lan:/tmp/");
    await b.ok("agent tls export-ca -o /tmp/b.crt && scp -q /tmp/b.crt a.lan:/tmp/");
    await a.ok("agent tls import-ca /tmp/b.crt");
    // The connection on which b refuses a must not stay.
    await node.said(/It refuses this node \(HTTP 401\)/);
    await b.ok("agent tls import-ca /tmp/a.crt");
    // No restart.
    const both = "a:reachable b:reachable";
    const [view] = await Promise.all([a, b].map((host) => sees(host, both, 40_000)));
    const warned = view!.nodes.filter(({ warnings }) =>
      warnings.some((each) => /another CA/.test(each))
    );
    assert.equal(warned.length, 1);
  },
});
