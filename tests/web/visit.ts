/** The pages in Chromium against invented answers: every state of them can be had at once. */
import assert from "node:assert/strict";
import axe from "axe-core"; // Finds what people who use a keyboard or a screen reader cannot use.
import type { BrowserContextOptions, Page } from "playwright-core";
import { browserReady, type OwnBrowser, startBrowser, watchedPage } from "../support/browser.ts";
import { type MockNode, startMockNode } from "../support/mock_node.ts";
import { temporaryFolder } from "../support/temporary.ts";

/** A busy machine takes seconds for what is done in 100 ms. */
export const withinMs = 30_000;
export const desktop = { width: 1280, height: 800 };
export const phone = { width: 390, height: 844 };

export interface Visit {
  node: MockNode;
  own: OwnBrowser;
  page: Page;
  /** What the page did wrong so far. */
  faults: string[];
  go(hash: string): Promise<void>;
}

/** A test with a page; it fails where the page does something wrong, too. */
export function pageTest(
  name: string,
  run: (visit: Visit) => Promise<void>,
  options: BrowserContextOptions = { viewport: desktop },
): void {
  Deno.test({
    name,
    ...browserReady,
    // Playwright's pipe to the browser outlives its end by a moment.
    sanitizeResources: false,
    sanitizeOps: false,
    async fn() {
      await using folder = await temporaryFolder();
      const socket = `${folder.path}/node.sock`;
      await using node = startMockNode({ listen: { path: socket } });
      await using own = await startBrowser(socket);
      const context = await own.browser.newContext(options);
      context.setDefaultTimeout(withinMs);
      const faults: string[] = [];
      const page = await watchedPage(context, faults);
      const go = async (hash: string) => void await page.goto(`${own.url}/${hash}`);
      await run({ node, own, page, faults, go });
      assert.deepEqual(faults, []);
      await context.close();
    },
  });
}

export function text(page: Page, words: string | RegExp) {
  return page.getByText(words).first().waitFor();
}

/** Chromium reports every answer of 400 and above as an error; this one is expected. */
export function dropFaults(faults: string[], status: number): void {
  const others = faults.filter((fault) => !fault.includes(`status of ${status}`));
  faults.splice(0, faults.length, ...others);
}

export function failedTask(node: MockNode): string {
  return node.data.tasks.find(({ state }) => state === "failed")!.id;
}

/** Nothing that axe-core calls serious or critical; it reads the page from outside, past its CSP. */
export async function assertAccessible(page: Page, where: string): Promise<void> {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate("axe.run()") as axe.AxeResults;
  const found = violations.filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map(({ html, any }) => `${id}: ${html} ${any[0]?.message}`));
  assert.deepEqual(found, [], where);
}

/** Presses Tab until the element with this text or label has the focus. */
export async function tabTo(page: Page, name: string): Promise<void> {
  for (let presses = 0; presses < 60; presses++) {
    await page.keyboard.press("Tab");
    if (await focused(page) === name) return;
  }
  throw new Error(`Tab does not reach "${name}"`);
}

export async function focused(page: Page): Promise<string> {
  return await page.evaluate(
    "document.activeElement.ariaLabel ?? document.activeElement.textContent.trim()",
  ) as string;
}
