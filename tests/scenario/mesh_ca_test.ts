/** Clusters with two CAs: by accident, on purpose, and in the middle of a renewal. */
import assert from "node:assert/strict";
import { component } from "../support/component.ts";
import { hostsCheck, startHosts } from "../support/hosts.ts";
import { certify, seen, sees, startNode, states } from "../support/mesh_hosts.ts";

const ready = await component("several hosts on one machine", ...hostsCheck);

Deno.test({
  name: "two CAs: refused with the reason, and one cluster after import-ca on both sides",
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "b"]);
    const { a, b } = hosts;
    await a.ok("agent tls init");
    await b.ok("agent tls init");
    await using _a = await startNode(a, "--peer b.lan");
    await using _b = await startNode(b, "--peer a.lan");
    const refused = await a.run(
      `curl -sS --cacert /etc/agent/tls/ca-bundle.crt https://b.lan:8765/api/health`,
    );
    assert.notEqual(refused.code, 0);
    assert.equal(states(await seen(a)), "a:reachable");
    await a.ok("agent tls export-ca -o /tmp/a.crt && scp -q /tmp/a.crt b.lan:/tmp/");
    await b.ok("agent tls export-ca -o /tmp/b.crt && scp -q /tmp/b.crt a.lan:/tmp/");
    await a.ok("agent tls import-ca /tmp/b.crt");
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

Deno.test({
  name:
    "half of the cluster has a new CA: docs/ca.md's step for the others heals it, without a restart",
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "b", "c", "d"]);
    const { a, b, c, d } = hosts;
    await certify(a, [b, c, d]);
    await using _a = await startNode(a);
    await using _b = await startNode(b);
    await using _c = await startNode(c);
    await using _d = await startNode(d);
    const all = "a:reachable b:reachable c:reachable d:reachable";
    await Promise.all(hosts.list.map((host) => sees(host, all)));

    await a.ok("agent tls renew --ca --yes");
    const give = (name: string) =>
      a.ok(
        `agent tls export-ca | ssh ${name}.lan 'cat >ca.crt && agent tls install --ca ca.crt && rm ca.crt'`,
      );
    await give("b");
    // b has a certificate of the new CA, too: its half is complete.
    await b.ok(
      `agent tls request -o b.csr && scp -q b.csr a.lan: &&
       ssh a.lan 'agent tls mint --csr b.csr --hostname b.lan -o b-tls' &&
       scp -q a.lan:b-tls/server.crt . && agent tls install --cert server.crt`,
    );
    const halves = [
      [a, "a:reachable b:reachable c:unreachable d:unreachable"],
      [b, "a:reachable b:reachable c:unreachable d:unreachable"],
      [c, "a:unreachable b:unreachable c:reachable d:reachable"],
      [d, "a:unreachable b:unreachable c:reachable d:reachable"],
    ] as const;
    const views = await Promise.all(halves.map(([host, wanted]) => sees(host, wanted, 40_000)));
    const why = views[2]!.nodes.find(({ name }) => name === "a")!.error;
    assert.match(why!, /not issued by a CA of our bundle/);

    await give("c");
    await give("d");
    // They retry at the next tick, which is 5 s, and read their files each second.
    await Promise.all(hosts.list.map((host) => sees(host, all, 20_000)));
  },
});
