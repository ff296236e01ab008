/** Session, event stream, and what a page says where there is nothing to show. */
import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { watchedPage } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { assertAccessible, dropFaults, pageTest, text, withinMs } from "./visit.ts";

pageTest("the session ends in the login form, which says what is wrong", async (visit) => {
  const { node, page, faults, go } = visit;
  node.data.needsToken = true;
  await go("#/workers");
  await text(page, "agent token url");
  await assertAccessible(page, "login");
  await page.getByLabel("Or paste the token").fill("wrong");
  await page.keyboard.press("Enter");
  await text(page, "The token is not the one of this node");
  await page.getByLabel("Or paste the token").fill("secret");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Workers" }).waitFor();
  await text(page, "old-laptop");
  await page.getByRole("button", { name: "Log out" }).click();
  await text(page, "Log in to this node");
  dropFaults(faults, 401);
});

pageTest("a login or logout in one tab holds in all of them", async (visit) => {
  const { node, own, page, faults, go } = visit;
  await go("#/cluster");
  await eventually(withinMs, () => node.streams().open === 1);
  const other = await watchedPage(page.context(), faults);
  await other.goto(`${own.url}/#/tasks`);
  await other.locator(".task-row").first().waitFor();
  node.data.needsToken = true;
  node.cutStreams(false);
  await text(page, "Your session has ended");
  await text(other, "Log in to this node");
  await other.getByLabel("Or paste the token").fill("secret");
  await other.keyboard.press("Enter");
  await other.locator(".task-row").first().waitFor();
  await page.getByRole("heading", { name: "Cluster" }).waitFor();
  await text(page, "gpu4-clone");
  dropFaults(faults, 401);
});

pageTest("a node that was updated offers its new pages", async ({ node, page, go }) => {
  await go("#/cluster");
  await eventually(withinMs, () => node.streams().open === 1);
  node.data.version = "0.2.0";
  node.cutStreams(false);
  node.send("reset", {});
  await eventually(withinMs, () => node.streams().opened === 2);
  node.send("reset", {});
  await text(page, "This node now runs agent 0.2.0");
  await page.getByRole("button", { name: "Load its pages" }).click();
  await page.getByText("This node now runs").waitFor({ state: "detached" });
});

pageTest("banners tell that the node is cut off, and that the stream is down", async (visit) => {
  const { node, page, faults, go } = visit;
  await go("#/cluster");
  await eventually(withinMs, () => node.streams().open === 1);
  node.cutStreams(true);
  await text(page, "The live connection to this node is down");
  node.cutStreams(false);
  await page.getByText("The live connection to this node is down").waitFor({ state: "detached" });
  node.send("cluster", { ...node.data.cluster, cut_off: true });
  await text(page, "This node is cut off");
  dropFaults(faults, 503);
});

pageTest("without a coordinator the pages say what to set", async (visit) => {
  const { node, page, faults, go } = visit;
  node.data.hasCoordinator = false;
  for (const hash of ["#/tasks", "#/workers"]) {
    await go(hash);
    await text(page, "agent config set node.coordinators");
  }
  dropFaults(faults, 503);
});

pageTest("a coordinator that does not answer is named where its part is missing", async (visit) => {
  const { node, page, go } = visit;
  const reason = "Could not connect to the coordinator: nothing listens there";
  node.data.unanswered = [{ coordinator: "build2.lan:50055", reason }];
  for (const hash of ["#/tasks", "#/workers"]) {
    await go(hash);
    await text(page, "The coordinator build2.lan:50055 does not answer");
    await text(page, reason);
  }
  await assertAccessible(page, "unanswered");
  node.data.unanswered = [];
  node.send("workers", { workers: node.data.workers, unanswered: [] });
  await page.getByText("does not answer").waitFor({ state: "detached" });
});

pageTest("empty pages name the command that fills them", async ({ node, page, go }) => {
  node.data.tasks = [];
  node.data.workers = [];
  node.data.cluster = { ...node.data.cluster, nodes: [node.data.cluster.nodes[0]!], links: [] };
  for (
    const [hash, command] of [
      ["#/cluster", "agent node -H 0.0.0.0 --cluster lab"],
      ["#/cluster/network", "agent node -H 0.0.0.0 --cluster lab"],
      ["#/tasks", "agent submit --follow -- uname -a"],
      ["#/workers", "agent worker --worker.coordinators"],
    ] as const
  ) {
    await go(hash);
    await text(page, command);
  }
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.getByRole("button", { name: /^Copy: agent worker/ }).click();
  const copied = await page.evaluate("navigator.clipboard.readText()") as string;
  assert.match(copied, /^agent worker/);
});

pageTest(
  "twenty tabs share one stream, and another takes over from the one that closes",
  async (visit) => {
    const { node, own, page, faults, go } = visit;
    await go("#/cluster");
    await eventually(withinMs, () => node.streams().open === 1);
    const tabs = [page];
    for (let tab = 1; tab < 20; tab++) {
      const next = await watchedPage(page.context(), faults);
      await next.goto(`${own.url}/#/cluster`);
      tabs.push(next);
    }
    await Promise.all(tabs.map((tab) => text(tab, "gpu4-clone")));
    assert.equal(node.streams().open, 1);
    const rename = async (name: string, among: Page[]) => {
      node.data.cluster.nodes[1]!.name = name;
      node.send("cluster", node.data.cluster);
      await Promise.all(among.map((tab) => tab.getByRole("rowheader", { name }).waitFor()));
    };
    await rename("build-02", tabs);
    await page.close();
    await eventually(withinMs, () => node.streams().opened === 2);
    await rename("build-03", tabs.slice(1));
    assert.equal(node.streams().open, 1);
  },
);
