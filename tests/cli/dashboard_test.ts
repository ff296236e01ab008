import assert from "node:assert/strict";
import type { PeerServer } from "../../src/peer/server.ts";
import { peerMetrics } from "../../src/roles/peer_metrics.ts";
import { agent } from "../support/agent.ts";
import { startCluster } from "../support/cluster.ts";
import { eventually, freePort } from "../support/eventually.ts";

interface Dashboard {
  panels: { title: string; targets: { expr: string }[] }[];
}

const dashboard: Dashboard = JSON.parse(
  await Deno.readTextFile(new URL("../../docs/grafana-dashboard.json", import.meta.url)),
);

/** Names as queries write them: a histogram has three. */
function namesIn(metrics: string): Set<string> {
  const names = new Set<string>();
  for (const [, name = "", kind] of metrics.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    for (const end of kind === "histogram" ? ["_bucket", "_sum", "_count"] : [""]) {
      names.add(name + end);
    }
  }
  return names;
}

async function metricsOf(port: number): Promise<string> {
  return await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
}

Deno.test("each query of the dashboard names metrics that there are", async () => {
  await using cluster = await startCluster();
  const ports = [freePort(), freePort()] as const;
  await using _role = await agent.start("coordinator", [
    "--coordinator.port=0",
    `--coordinator.health-port=${ports[0]}`,
  ]);
  await cluster.startWorker({ healthPort: ports[1] });
  await cluster.finished(await cluster.submit("true"));
  const known = namesIn(await metricsOf(ports[0]) + await metricsOf(ports[1]));
  // Without TLS there is no certificate.
  const server = {
    connections: () => ({ open: 0, pending: 0, overdue: 0, evicted: 0, refused: 0 }),
    certificate: () => ({ notAfter: new Date(0) }),
    refusals: () => ({}),
    calls: () => [],
  } as unknown as PeerServer;
  for (const { name } of peerMetrics(server)) known.add(name);
  for (const { title, targets } of dashboard.panels) {
    for (const { expr } of targets) {
      const used = expr.match(/\bagent_\w+/g) ?? [];
      assert.ok(used.length > 0, title);
      for (const name of used) assert.ok(known.has(name), `${title}: there is no metric ${name}`);
    }
  }
});

Deno.test("metrics have the latencies of tasks, calls by method and code, and what is stored", async () => {
  const port = freePort();
  await using role = await agent.start("coordinator", [
    "--coordinator.port=0",
    `--coordinator.health-port=${port}`,
  ]);
  const args = ["--coordinators", role.address];
  assert.equal((await agent.run(["submit", ...args, "--", "true"])).code, 0);
  assert.equal((await agent.run(["task", "show", ...args, "00000000000000"])).code, 1);
  const metrics = await eventually(5_000, async () => {
    const text = await metricsOf(port);
    return /method="GetTask"/.test(text) ? text : undefined;
  });
  assert.match(metrics, /^agent_rpcs_total\{method="Submit",code="OK"\} 1$/m);
  assert.match(metrics, /^agent_rpcs_total\{method="GetTask",code="NOT_FOUND"\} 1$/m);
  assert.match(metrics, /^agent_stored_bytes\{kind="output"\} 0$/m);
  assert.match(metrics, /^agent_stored_bytes\{kind="database"\} [1-9]\d+$/m);
  const count = /^agent_commit_duration_seconds_count (\d+)$/m.exec(metrics)?.[1];
  assert.ok(Number(count) >= 1);
  assert.match(
    metrics,
    new RegExp(`^agent_commit_duration_seconds_bucket\\{le="\\+Inf"\\} ${count}$`, "m"),
  );
});
