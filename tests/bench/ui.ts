import type { Browser, Page } from "playwright-core";
import { assets } from "../../src/web/assets.ts";
import { browserReady, startBrowser } from "../support/browser.ts";
import { type MockNode, startMockNode } from "../support/mock_node.ts";
import { temporaryFolder } from "../support/temporary.ts";
import { type Bench, type Figure, median, Unavailable } from "./report.ts";

/** What a person notices: the limits are absolute, since nothing else is measured beside them. */
const limits = { compressedBytes: 100 * 1024, firstPaintMs: 500, frameMs: 33, logMs: 1_000 };
const logBytes = 100 * 1024 * 1024;
const viewport = { width: 1280, height: 800 };

export const bench: Bench = {
  name: "ui",
  what: "the pages in Chromium: first paint, a long list, a large log",
  async *run({ quick }) {
    if (browserReady.ignore) throw new Unavailable("ui: no Chromium in a network of its own");
    const rounds = quick ? 2 : 7;
    await using folder = await temporaryFolder();
    const socket = `${folder.path}/node.sock`;
    await using node = startMockNode({ listen: { path: socket } });
    await using own = await startBrowser(socket);
    const bytes = Object.values(assets).reduce((sum, { gzip }) => sum + gzip.length, 0);
    yield figure("size", bytes, limits.compressedBytes, "bytes compressed", []);
    const paints = await repeated(rounds, () => firstPaint(own.browser, own.url));
    yield figure("first paint", median(paints), limits.firstPaintMs, "ms, empty cache", paints);
    const page = await own.browser.newPage({ viewport });
    const frames = await scrolled(page, own.url, node);
    const of20 = [0.5, 0.9, 0.95].map((part) => frames[Math.floor(frames.length * part)]!);
    yield figure(
      "10,000 tasks",
      of20[0]!,
      limits.frameMs,
      "ms a frame; then of 9 in 10, 19 in 20",
      of20,
    );
    const logs = await repeated(rounds, () => largeLog(page, own.url, node));
    yield figure("100 MB of log", median(logs), limits.logMs, "ms to its last line", logs);
  },
};

function figure(
  name: string,
  measured: number,
  limit: number,
  unit: string,
  all: number[],
): Figure {
  return {
    name,
    measured: `${Math.round(measured).toLocaleString("en")} ${unit}`,
    reference: `${limit.toLocaleString("en")} are the most`,
    ratio: measured / limit,
    target: { atMost: 1 },
    ...(all.length > 1
      ? { notes: [`all: ${all.map((each) => Math.round(each)).join(", ")}`] }
      : {}),
  };
}

async function repeated(rounds: number, run: () => Promise<number>): Promise<number[]> {
  const found = [];
  for (let round = 0; round < rounds; round++) found.push(await run());
  return found;
}

async function firstPaint(browser: Browser, url: string): Promise<number> {
  const context = await browser.newContext({ viewport });
  const page = await context.newPage();
  await page.goto(url);
  await page.getByText("old-laptop").first().waitFor();
  const ms = await page.evaluate(
    'performance.getEntriesByName("first-contentful-paint")[0].startTime',
  ) as number;
  await context.close();
  return ms;
}

/** Times between frames while the whole list, loaded before, runs by. */
async function scrolled(page: Page, url: string, node: MockNode): Promise<number[]> {
  await page.goto(`${url}/#/tasks`);
  const last = page.locator(`a[href="#/tasks/${node.data.tasks.at(-1)!.id}"]`);
  while (await last.count() === 0) {
    await page.evaluate("scrollTo(0, document.body.scrollHeight)");
    await page.waitForTimeout(20);
  }
  const frames = await page.evaluate(`(async () => {
    const frames = [];
    for (let before = performance.now(); scrollY > 0;) {
      scrollBy(0, -1000);
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      frames.push(now - before);
      before = now;
    }
    return frames;
  })()`) as number[];
  return frames.toSorted((a, b) => a - b);
}

async function largeLog(page: Page, url: string, node: MockNode): Promise<number> {
  const task = node.data.tasks.find(({ state }) => state === "succeeded")!;
  task.attempts[0]!.stdout_bytes = logBytes;
  await page.goto(`${url}/#/workers`);
  await page.getByText("slots used").waitFor();
  const begun = performance.now();
  await page.goto(`${url}/#/tasks/${task.id}`);
  await page.getByText("[01310719]").waitFor();
  return performance.now() - begun;
}
