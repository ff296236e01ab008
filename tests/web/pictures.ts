/**
 * Takes the pictures of the docs, with invented data: `deno run -A tests/web/pictures.ts`.
 * Compressed to 256 colours where `pngquant` is installed.
 */
import { fileURLToPath } from "node:url";
import { startBrowser } from "../support/browser.ts";
import { startMockNode } from "../support/mock_node.ts";
import { temporaryFolder } from "../support/temporary.ts";

const folder = fileURLToPath(new URL("../../docs/images/", import.meta.url));
await Deno.mkdir(folder, { recursive: true });
await using temporary = await temporaryFolder();
const socket = `${temporary.path}/node.sock`;
await using node = startMockNode({ listen: { path: socket } });
await using own = await startBrowser(socket);

const failed = node.data.tasks.find(({ state }) => state === "failed")!.id;
const desktop = { width: 1280, height: 720 };
const pictures = [
  { name: "cluster", hash: "#/cluster", waitFor: "gpu4-clone", viewport: desktop },
  { name: "network", hash: "#/cluster/network", waitFor: "connections fail", viewport: desktop },
  { name: "tasks", hash: "#/tasks", waitFor: "Submitted", viewport: desktop },
  { name: "task", hash: `#/tasks/${failed}`, waitFor: "CUDA", viewport: desktop, dark: true },
  { name: "workers", hash: "#/workers", waitFor: "old-laptop", viewport: desktop },
  { name: "phone", hash: "#/tasks", waitFor: "Queued", viewport: { width: 390, height: 720 } },
];
for (const { name, hash, waitFor, viewport, dark } of pictures) {
  const context = await own.browser.newContext({
    viewport,
    colorScheme: dark ? "dark" : "light",
    reducedMotion: "reduce",
  });
  const page = await context.newPage();
  await page.goto(`${own.url}/${hash}`);
  await page.getByText(waitFor).first().waitFor();
  const path = `${folder}${name}.png`;
  await page.screenshot({ path });
  await context.close();
  await compress(path);
}

async function compress(path: string): Promise<void> {
  try {
    await new Deno.Command("pngquant", { args: ["--force", "--output", path, path] }).output();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
