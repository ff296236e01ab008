/** Every page on every kind of screen, and by every way to use it. */
import assert from "node:assert/strict";
import { taskView } from "../support/mock_data.ts";
import { assertAccessible, desktop, failedTask, pageTest, phone, text } from "./visit.ts";

for (const [width, viewport] of [["desktop", desktop], ["phone", phone]] as const) {
  for (const colorScheme of ["light", "dark"] as const) {
    pageTest(`every page is sound on a ${width}, ${colorScheme}`, async ({ node, page, go }) => {
      const pages: [hash: string, shows: string | RegExp][] = [
        ["#/cluster", "The CA differs from the majority's"],
        ["#/cluster/network", /of 36 connections fail/],
        ["#/tasks", "rsync -a --delete /srv/data/ nas:/backup/data/"],
        ["#/tasks?text=no-such-thing&state=lost", "No task matches the filter"],
        [`#/tasks/${failedTask(node)}`, "RuntimeError"],
        ["#/workers", "Takes no tasks: Cannot start a process"],
        ["#/nowhere", "There is no such page"],
      ];
      for (const [hash, shows] of pages) {
        await go(hash);
        await text(page, shows);
        const beyond = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
        assert.ok(beyond as number <= 0, `${hash} is ${beyond} pixels too wide`);
        await assertAccessible(page, hash);
      }
      await go("#/tasks");
      await page.getByRole("button", { name: "Submit a task" }).click();
      await page.getByText("More").click();
      await assertAccessible(page, "submit");
    }, { viewport, colorScheme });
  }
}

pageTest("the keyboard reaches everything that can be pressed", async ({ node, page, go }) => {
  for (const hash of ["#/cluster", "#/workers", `#/tasks/${failedTask(node)}`]) {
    await go(hash);
    await page.locator("main h1").waitFor();
    await page.locator("main button").first().waitFor();
    const wanted = await page.evaluate(
      `[...document.querySelectorAll("a[href], button, input, select, summary, .log-box")]
         .filter((each) => each.checkVisibility() && !each.disabled).length`,
    ) as number;
    await page.evaluate(`globalThis.reached = new Set();
      document.addEventListener("focusin", (event) => reached.add(event.target))`);
    for (let presses = 0; presses < wanted + 3; presses++) await page.keyboard.press("Tab");
    const reached = await page.evaluate("reached.size") as number;
    assert.ok(reached >= wanted, `${hash}: ${reached} of ${wanted}`);
  }
});

for (const [width, viewport] of [["desktop", desktop], ["phone", phone]] as const) {
  pageTest(`the longest names and strangest texts break no page on a ${width}`, async (visit) => {
    const { node, page, go } = visit;
    const long = "x".repeat(253);
    const strange = '<img src=x onerror="alert(1)"> \u202e "quoted" \n\t';
    const [self, other] = node.data.cluster.nodes;
    Object.assign(self!, { name: long, address: "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:8765" });
    Object.assign(other!, { name: strange, version: long, warnings: [long, strange] });
    node.data.cluster.cluster = long;
    const labels = Object.fromEntries(Array.from({ length: 64 }, (_, at) => [`key-${at}`, long]));
    Object.assign(node.data.workers[0]!, { id: long, labels, trouble: long, warnings: [strange] });
    const argv = ["/bin/sh", "-c", `${strange}\n${"word ".repeat(2_000)}${long}`];
    const task = taskView(node.data.tasks[0]!.id, "failed", { argv });
    Object.assign(task, { reason: long });
    Object.assign(task.spec, { cwd: `/${long}`, selector: labels, env: { [long]: long } });
    Object.assign(task.attempts[0]!, { worker_id: long });
    node.data.tasks[0] = task;
    for (
      const hash of ["#/cluster", "#/cluster/network", "#/tasks", "#/workers", `#/tasks/${task.id}`]
    ) {
      await go(hash);
      await page.locator("main table, main .log-box").first().waitFor();
      const beyond = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
      assert.ok(beyond as number <= 0, `${hash} is ${beyond} pixels too wide`);
    }
  }, { viewport });
}
