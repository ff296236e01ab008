/** The Cluster view and the list of nodes. */
import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { pageTest, text, withinMs } from "./visit.ts";

pageTest(
  "a node turns red and back, in the list, the table and for a screen reader",
  async (visit) => {
    const { node, page, go } = visit;
    await go("#/cluster");
    const row = page.locator("tr", { hasText: "build-01" });
    await row.locator(".dot.ok").waitFor();
    await eventually(withinMs, () => node.streams().open === 1);
    const build = node.data.cluster.nodes.find(({ name }) => name === "build-01")!;
    Object.assign(build, { state: "unreachable", reachable: false, error: "Connection refused" });
    node.send("cluster", node.data.cluster);
    await row.locator(".dot.down").waitFor();
    await page.locator(".node-list li", { hasText: "build-01" }).locator(".dot.down").waitFor();
    await row.getByText("Connection refused").waitFor();
    await page.locator('[aria-live="polite"]', { hasText: "build-01 is unreachable" }).waitFor();
    Object.assign(build, { state: "reachable", reachable: true, error: null });
    node.send("cluster", node.data.cluster);
    await row.locator(".dot.ok").waitFor();
  },
);

pageTest("an unreachable node is forgotten after a confirmation", async ({ node, page, go }) => {
  await go("#/cluster");
  await page.getByRole("button", { name: "Forget old-laptop" }).click();
  await page.getByRole("button", { name: "Keep" }).click();
  assert.ok(!node.calls.some((call) => call.startsWith("DELETE")));
  await page.getByRole("button", { name: "Forget old-laptop" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Forget old-laptop" }).click();
  await page.getByRole("row", { name: /old-laptop/ }).waitFor({ state: "detached" });
  assert.ok(node.calls.includes("DELETE /api/cluster/nodes/f6"));
});

pageTest(
  "the connections of many nodes are counted, and those that fail are listed",
  async (visit) => {
    const { node, page, go } = visit;
    const { cluster } = node.data;
    const one = cluster.nodes.find(({ name }) => name === "build-01")!;
    cluster.nodes = Array.from({ length: 40 }, (_, n) => ({
      ...one,
      ...{ id: `n${n}`, name: `node-${n}`, self: n === 0 },
    }));
    cluster.links = cluster.nodes.flatMap(({ id: from }) =>
      cluster.nodes.filter(({ id }) => id !== from).map(({ id: to }) => {
        const reachable = from !== "n3" || to !== "n7";
        return { from, to, reachable, latency_ms: reachable ? 12 : null, last_seen: null };
      })
    );
    await go("#/cluster/network");
    await text(page, "1 of 1,560 connections fail");
    const row = (name: string) =>
      page.locator("tr", { has: page.getByText(name, { exact: true }) }).last();
    await row("node-3").getByText("38 of 39").waitFor();
    await row("node-7").getByText("38 of 39").waitFor();
    await row("node-5").getByText("12 ms").waitFor();
    await text(page, "Failing connections between nodes that are up");
  },
);

pageTest("times are counted on the node's clock", async ({ page, go }) => {
  const dayMs = 86_400_000;
  await page.clock.install({ time: Date.now() + dayMs });
  await go("#/cluster");
  await page.locator("tr", { hasText: "build-01" }).locator("time", { hasText: "now" }).waitFor();
});

pageTest("a worker that is gone is forgotten after a confirmation", async ({ node, page, go }) => {
  await go("#/workers");
  const gone = page.getByRole("row", { name: /old-laptop/ });
  await gone.waitFor();
  // One that is connected cannot be.
  assert.equal(await page.getByRole("button", { name: /^Forget / }).count(), 1);
  await page.getByRole("button", { name: "Forget old-laptop" }).click();
  await text(page, "gone for good");
  await page.getByRole("dialog").getByRole("button", { name: "Forget old-laptop" }).click();
  await gone.waitFor({ state: "detached" });
  assert.ok(node.calls.includes("POST /api/workers/old-laptop/forget"));
});
