/**
 * Chromium in a network of its own, where nothing but the server under test can be reached: what a
 * page asks of any other host fails, and is reported as a fault of the page.
 */
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core"; // Drives Chromium.
import { join } from "node:path";
import { asRoot, component, networkNamespaces, programs } from "./component.ts";

/** Spread it into tests that need the browser. */
export const browserReady = await component(
  "Chromium in a network of its own",
  asRoot,
  networkNamespaces,
  programs("chromium", "ip", "unshare"),
);

/** Any port will do: the network is the browser's own. */
const port = 8765;

export interface OwnBrowser extends AsyncDisposable {
  browser: Browser;
  /** Where the server at the socket is reached. */
  url: string;
}

/** @param socket the socket file at which the server listens. */
export async function startBrowser(socket: string): Promise<OwnBrowser> {
  const home = await Deno.makeTempDir({ prefix: "agent-browser-" });
  const relay = [Deno.execPath(), "run", "-A", "--no-config", "--no-lock", "--quiet"]
    .concat(join(import.meta.dirname!, "browser_relay.ts"), String(port), socket)
    .map((word) => `'${word}'`).join(" ");
  const start = join(home, "chromium");
  // The file descriptors by which the browser is driven pass through the shell.
  const script = `#!/bin/sh
exec unshare --net sh -c '
  ip link set lo up
  "$0" &
  relay=$!
  chromium "$@"
  kill $relay' '${join(home, "relay")}' "$@"
`;
  await Deno.writeTextFile(start, script, { mode: 0o755 });
  await Deno.writeTextFile(join(home, "relay"), `#!/bin/sh\nexec ${relay}\n`, { mode: 0o755 });
  const browser = await chromium.launch({
    executablePath: start,
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
    env: { ...Deno.env.toObject(), HOME: home },
  });
  return {
    browser,
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      await browser.close();
      await Deno.remove(home, { recursive: true });
    },
  };
}

/** Opens a page and gathers what it does wrong: errors, refused content, requests to other hosts. */
export async function watchedPage(context: BrowserContext, faults: string[]): Promise<Page> {
  const page = await context.newPage();
  page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(`console: ${message.text()}`);
  });
  page.on("requestfailed", (request) => {
    const reason = request.failure()?.errorText ?? "";
    // A page that is left, and a log that is no longer followed, break off their own requests.
    if (!reason.includes("ERR_ABORTED")) faults.push(`request: ${request.url()} ${reason}`);
  });
  return page;
}
