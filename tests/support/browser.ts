/**
 * Chromium in a network of its own, where nothing but the server under test can be reached: what a
 * page asks of any other host fails, and is reported as a fault of the page.
 */
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core"; // Drives Chromium.
import { join } from "node:path";
import type { Host } from "./hosts.ts";
import { asRoot, component, networkNamespaces, programs } from "./component.ts";

/** Spread it into tests that need the browser. */
export const browserReady = await component(
  "Chromium in a network of its own",
  asRoot,
  networkNamespaces,
  programs("chromium", "ip", "unshare"),
);

/** A browser on one of the hosts, which trusts the CA with this certificate and no other. */
export async function startBrowserOn(host: Host, caFile: string): Promise<OwnBrowser> {
  await host.ok(
    "mkdir -p .pki/nssdb && certutil -N -d sql:.pki/nssdb --empty-password && " +
      `certutil -A -d sql:.pki/nssdb -n "Agent CA" -t C,, -i ${caFile}`,
  );
  const folder = await Deno.makeTempDir({ prefix: "agent-browser-" });
  const start = join(folder, "chromium");
  const through = host.through.map((word) => `'${word}'`).join(" ");
  await Deno.writeTextFile(start, `#!/bin/sh\nexec ${through} chromium "$@"\n`, { mode: 0o755 });
  const browser = await launch(start, host.home.env);
  return { browser, url: "", [Symbol.asyncDispose]: () => end(browser, folder) };
}

async function launch(executablePath: string, env: Record<string, string>): Promise<Browser> {
  const args = ["--no-sandbox", "--disable-dev-shm-usage"];
  return await chromium.launch({ executablePath, args, env });
}

async function end(browser: Browser, folder: string): Promise<void> {
  await browser.close();
  await Deno.remove(folder, { recursive: true });
}

/** Any port will do: the network is the browser's own. */
const port = 8765;

export interface OwnBrowser extends AsyncDisposable {
  browser: Browser;
  /** Where the server at the socket is reached; "" on a host, which reaches the others by name. */
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
  mkfifo "$0.up"
  "$0" >"$0.up" &
  relay=$!
  read -r _ <"$0.up"
  chromium "$@"
  kill $relay' '${join(home, "relay")}' "$@"
`;
  await Deno.writeTextFile(start, script, { mode: 0o755 });
  await Deno.writeTextFile(join(home, "relay"), `#!/bin/sh\nexec ${relay}\n`, { mode: 0o755 });
  const browser = await launch(start, { ...Deno.env.toObject(), HOME: home });
  const url = `http://127.0.0.1:${port}`;
  return { browser, url, [Symbol.asyncDispose]: () => end(browser, home) };
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
