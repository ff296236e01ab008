/** The log of a task. */
import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { pageTest, text, withinMs } from "./visit.ts";

pageTest("a log is followed while it is written, until the reader scrolls up", async (visit) => {
  const { node, page, go } = visit;
  for (let line = 0; line < 200; line++) node.write(`line ${line}\n`);
  await go(`#/tasks/${node.data.tasks[0]!.id}`);
  await text(page, "line 199");
  await text(page, "live");
  node.write("half ");
  await text(page, "half");
  node.write("\x1b[31mred\x1b[0m\n");
  await page.locator(".fg-ansi-red", { hasText: "red" }).waitFor();
  node.write("<img src=x onerror=alert(1)>\n", "stderr");
  await page.locator(".log-row.stderr", { hasText: "<img src=x" }).waitFor();
  const box = page.locator(".log-box");
  await box.evaluate((element) => element.scrollTop = 0);
  await text(page, /^line 0$/);
  for (let line = 200; line < 400; line++) node.write(`line ${line}\n`);
  await eventually(withinMs, async () => await box.evaluate((each) => each.scrollHeight) > 7_000);
  assert.equal(await box.evaluate((element) => element.scrollTop), 0);
  await page.getByRole("button", { name: "Follow" }).click();
  await text(page, "line 399");
});

pageTest("a log of 100 MB opens at its end", async ({ node, page, go }) => {
  const task = node.data.tasks.find(({ state }) => state === "succeeded")!;
  task.attempts[0]!.stdout_bytes = 100 * 1024 * 1024;
  await go("#/tasks");
  await text(page, "Succeeded");
  await go(`#/tasks/${task.id}`);
  await text(page, /\[01310719\]/);
  await text(page, "The last 256 KiB of 100 MiB");
  await page.getByRole("button", { name: "Show earlier output" }).click();
  await text(page, "The last 1 MiB of 100 MiB");
  await page.getByRole("button", { name: "Start" }).click();
  await text(page, "[00000000]");
});

pageTest(
  "a log that nobody looks at gives its connection back",
  async ({ node, own, page, go }) => {
    await go(`#/tasks/${node.data.tasks[0]!.id}`);
    await eventually(withinMs, () => node.followers() === 1);
    const session = await page.context().newCDPSession(page);
    await page.evaluate(
      `Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange"))`,
    );
    await eventually(withinMs, () => node.followers() === 0);
    node.write("meanwhile\n");
    await page.evaluate(`delete document.visibilityState;
    document.dispatchEvent(new Event("visibilitychange"))`);
    await text(page, "meanwhile");
    await session.detach();
    assert.ok(own.browser.isConnected());
  },
);
