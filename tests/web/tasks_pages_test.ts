/** The list of tasks, a task, and submitting. */
import assert from "node:assert/strict";
import { watchedPage } from "../support/browser.ts";
import { eventually } from "../support/eventually.ts";
import { taskView } from "../support/mock_data.ts";
import {
  desktop,
  dropFaults,
  failedTask,
  focused,
  pageTest,
  tabTo,
  text,
  withinMs,
} from "./visit.ts";

pageTest("from a failed task to its first log line in two clicks", async ({ page, go }) => {
  await go("");
  await page.getByRole("link", { name: "Tasks", exact: true }).click();
  const failed = page.locator("tr", { hasText: "Failed" }).first();
  await failed.click();
  await text(page, "CUDA out of memory");
  await page.getByRole("button", { name: "Start" }).click();
  await text(page, "[00000000]");
});

pageTest("a list of 10,000 tasks scrolls, with few rows drawn", async ({ node, page, go }) => {
  await go("#/tasks");
  const last = node.data.tasks.at(-1)!.id;
  await page.locator(".task-row").first().waitFor();
  // The end is reached while the list is being loaded again.
  node.send("reset", {});
  await eventually(60_000, async () => {
    await page.evaluate("scrollTo(0, document.body.scrollHeight)");
    return await page.locator(`a[href="#/tasks/${last}"]`).count() === 1;
  });
  assert.ok(await page.locator(".task-row").count() < 120);
  // Events were missed: what was loaded is loaded again, and the place in the list stays.
  const before = node.calls.length;
  node.send("reset", {});
  await eventually(withinMs, () => node.calls.length >= before + 10);
  await page.locator(`a[href="#/tasks/${last}"]`).waitFor();
});

pageTest("tasks appear, change and are filtered as they happen", async ({ node, page, go }) => {
  await go("#/tasks");
  await page.locator(".task-row").first().waitFor();
  await eventually(withinMs, () => node.streams().open === 1);
  const task = taskView("01kc0000000001", "running", { argv: ["brand-new-program"] });
  node.data.tasks.unshift(task);
  node.send("task", task);
  const row = page.locator(".task-row", { hasText: "brand-new-program" });
  await row.getByText("Running").waitFor();
  node.send("task", { ...task, state: "failed" });
  await row.getByText("Failed").waitFor();
  await page.getByRole("button", { name: "Succeeded" }).click();
  await row.waitFor({ state: "detached" });
  await page.getByRole("searchbox").fill("ffmpeg");
  await eventually(withinMs, async () => {
    const shown = await page.locator(".task-row").allInnerTexts();
    return shown.length > 5 && shown.every((each) => /ffmpeg/.test(each));
  });
  assert.match(page.url(), /state=succeeded&text=ffmpeg/);
});

pageTest("a task is submitted by the keyboard alone", async ({ node, page, faults, go }) => {
  await go("#/tasks");
  await page.locator(".task-row").first().waitFor();
  await tabTo(page, "Submit a task");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.type("refuse this");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Space");
  await tabTo(page, "Submit");
  await page.keyboard.press("Enter");
  await text(page, 'The program "refuse" is not allowed');
  await text(page, "Name another program");
  dropFaults(faults, 400);
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(await focused(page), "Submit a task");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.type("echo 'a b'");
  await tabTo(page, "Submit");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "echo 'a b'" }).waitFor();
  assert.deepEqual(node.data.tasks[0]!.spec.argv, ["/bin/sh", "-c", "echo 'a b'"]);
}, { viewport: desktop });

pageTest("a task is submitted again with a change", async ({ node, page, go }) => {
  await go(`#/tasks/${failedTask(node)}`);
  await page.getByRole("button", { name: "Edit and submit" }).click();
  const command = page.getByLabel("Command");
  await eventually(withinMs, async () => (await command.inputValue()).startsWith("ffmpeg -i"));
  assert.equal(await page.getByLabel("Worker labels").inputValue(), "gpu=a100");
  assert.equal(
    await page.getByLabel("Environment, one per line").inputValue(),
    "EPOCHS=30\nSEED=7",
  );
  assert.equal(await page.getByLabel(/^Run by/).isChecked(), false);
  assert.equal(await page.getByLabel("Resources").inputValue(), "");
  await command.fill("ffmpeg -version");
  await page.getByRole("button", { name: "Submit", exact: true }).click();
  await page.getByRole("heading", { name: "ffmpeg -version" }).waitFor();
  assert.deepEqual(node.data.tasks[0]!.spec.argv, ["ffmpeg", "-version"]);
});

pageTest("an array shows what became of its tasks, and is retried as a whole", async (visit) => {
  const { node, page, go } = visit;
  const id = "01kd0000000001";
  node.data.tasks = (["succeeded", "failed", "failed", "running"] as const).map((state, at) => ({
    ...taskView(`${id}.${at}`, state),
    array_id: id,
    array_index: at,
  }));
  await go(`#/tasks/${id}`);
  await text(page, ": 1 running, 1 succeeded, 2 failed");
  await page.getByRole("button", { name: "Retry 2" }).click();
  await text(page, ": 2 queued, 1 running, 1 succeeded");
  await page.getByRole("button", { name: "Cancel 3" }).click();
  await text(page, ": 1 succeeded, 3 cancelled");
  await page.getByRole("button", { name: "Delete 4" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await text(page, "No task has been submitted yet");
});

pageTest("cancel, retry and drain are shown at once", async ({ node, page, go }) => {
  await go(`#/tasks/${node.data.tasks[0]!.id}`);
  await page.getByRole("button", { name: "Cancel" }).click();
  await text(page, "Cancelled");
  await page.getByRole("button", { name: "Retry" }).click();
  await text(page, "Queued");
  await go("#/workers");
  await page.getByRole("button", { name: "drain gpu1" }).click();
  await page.getByRole("button", { name: "resume gpu1" }).waitFor();
  assert.ok(node.calls.includes("POST /api/workers/gpu1/drain"));
});

pageTest(
  "a finished task is deleted after a confirmation, and every list drops it",
  async (visit) => {
    const { node, own, page, faults, go } = visit;
    const id = failedTask(node);
    await go(`#/tasks/${id}`);
    const other = await watchedPage(page.context(), faults);
    await other.goto(`${own.url}/#/tasks`);
    const row = other.locator(`a[href="#/tasks/${id}"]`);
    await row.waitFor();
    const third = await watchedPage(page.context(), faults);
    await third.goto(`${own.url}/#/tasks/${id}`);
    await third.getByRole("button", { name: "Retry" }).waitFor();
    await page.getByRole("button", { name: "Delete this task" }).click();
    await page.getByRole("button", { name: "Keep" }).click();
    assert.ok(!node.calls.some((call) => call.startsWith("DELETE")));
    await page.getByRole("button", { name: "Delete this task" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page.getByRole("heading", { name: "Tasks" }).waitFor();
    await row.waitFor({ state: "detached" });
    await third.getByText("This task was deleted").waitFor();
    assert.equal(await third.getByRole("button", { name: "Retry" }).count(), 0);
    assert.ok(node.calls.includes(`DELETE /api/tasks/${id}`));
  },
);

pageTest("what the form asks for is sent", async ({ node, page, go }) => {
  await go("#/tasks");
  await page.getByRole("button", { name: "Submit a task" }).click();
  await page.getByLabel("Command").fill("nvidia-smi -L");
  await page.getByLabel("Resources").fill("gpu=2");
  await page.getByText("More", { exact: true }).click();
  // The workers that are there are offered.
  await page.locator('datalist option[value="gpu1"]').waitFor({ state: "attached" });
  await page.getByLabel("Worker", { exact: true }).fill("gpu1");
  await page.getByLabel("Again when lost").fill("0");
  await page.getByLabel("Lost after").fill("soon");
  await page.getByRole("button", { name: "Submit", exact: true }).click();
  // However far the form is scrolled, what is wrong is in view.
  const alert = await page.getByText('Lost after: "soon" is not a duration').boundingBox();
  assert.ok(alert !== null && alert.y > 0 && alert.y + alert.height <= desktop.height);
  await page.getByLabel("Lost after").fill("1d");
  await page.getByLabel("Standard input").fill("one\n");
  await page.getByLabel("Once on every worker that matches").check();
  const asked = page.waitForRequest((request) => request.method() === "POST");
  await page.getByRole("button", { name: "Submit", exact: true }).click();
  assert.deepEqual((await asked).postDataJSON(), {
    argv: ["nvidia-smi -L"],
    shell: true,
    selector: { worker: "gpu1" },
    resources: { gpu: 2 },
    max_lost: 0,
    lost_after_ms: 86_400_000,
    stdin_base64: "b25lCg==",
    each: true,
  });
  await page.getByRole("heading", { name: "nvidia-smi -L" }).waitFor();
  assert.equal(node.data.tasks.length, 10_001);
});
