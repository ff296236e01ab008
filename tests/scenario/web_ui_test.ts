/** The web UI of real nodes on hosts of their own, in a Chromium that trusts their CA. */
import assert from "node:assert/strict";
import type { BrowserContext, Page } from "playwright-core";
import type { Running } from "../support/agent.ts";
import { type OwnBrowser, startBrowserOn, watchedPage } from "../support/browser.ts";
import { component, programs } from "../support/component.ts";
import { type Host, hostsCheck, startHosts } from "../support/hosts.ts";

const ready = await component(
  "Chromium on a host of its own",
  ...hostsCheck,
  programs("chromium", "certutil"),
);

/** A busy machine takes several times as long as an idle one. */
const withinMs = 30_000;
const node = "agent node -H 0.0.0.0 --cluster lab";
const coordinator = "agent coordinator --coordinator.host 0.0.0.0 --peer.insecure=false";
const tasks = "--node.coordinators=a.lan:50055 --peer.insecure=false";

interface Lab {
  hosts: Record<"a" | "b" | "laptop", Host>;
  browser: OwnBrowser;
  context: BrowserContext;
  page: Page;
  faults: string[];
}

/** Two hosts with certificates of one CA, and a laptop whose browser trusts it. */
function labTest(name: string, run: (lab: Lab) => Promise<void>): void {
  Deno.test({
    name: `web UI: ${name}`,
    ...ready,
    // Playwright's pipe to the browser outlives its end by a moment.
    sanitizeResources: false,
    sanitizeOps: false,
    async fn() {
      await using hosts = await startHosts(["a", "b", "laptop"]);
      await hosts.a.ok("agent tls init && agent tls deploy b.lan");
      await hosts.laptop.ok("scp -q a.lan:/etc/agent/tls/ca/ca.crt ca.crt");
      await using browser = await startBrowserOn(hosts.laptop, "ca.crt");
      const context = await browser.browser.newContext({ viewport: { width: 1280, height: 800 } });
      context.setDefaultTimeout(withinMs);
      const faults: string[] = [];
      const page = await watchedPage(context, faults);
      await run({ hosts, browser, context, page, faults });
    },
  });
}

/** The address with a token that the node prints when it starts. */
function loginUrl(node: Running): string {
  const [, token] = /\?token=([\w-]+)/.exec(node.stderr())!;
  return `/?token=${token}`;
}

async function logIn(page: Page, origin: string, node: Running): Promise<void> {
  await page.goto(origin + loginUrl(node));
  await page.getByRole("heading", { name: "Cluster" }).waitFor();
}

labTest("the printed address logs in once, and nodes turn red and back", async (lab) => {
  const { hosts, page, faults, context } = lab;
  await using a = await hosts.a.start(node);
  await using b = await hosts.b.start(node);
  const url = `https://a.lan:8765${loginUrl(a)}`;
  await page.goto(url);
  await page.waitForURL("https://a.lan:8765/");
  const row = page.getByRole("row", { name: /\bb\b/ });
  await row.locator(".dot.ok").waitFor();
  const cookies = await context.cookies();
  assert.deepEqual(
    cookies.map(({ httpOnly, sameSite, secure }) => ({ httpOnly, sameSite, secure })),
    [{ httpOnly: true, sameSite: "Strict", secure: true }],
  );
  b.kill();
  await row.locator(".dot.down").waitFor();
  await using _again = await hosts.b.start(node);
  await row.locator(".dot.ok").waitFor();

  await context.clearCookies();
  await page.goto(url);
  await page.getByText("was used already").waitFor();
  await page.goto("https://a.lan:8765/");
  await page.getByRole("heading", { name: "Log in to this node" }).waitFor();
  const token = (await hosts.a.ok("agent token show")).trim();
  await page.getByLabel("Or paste the token").fill(token);
  await page.keyboard.press("Enter");
  await row.locator(".dot.ok").waitFor();
  assertSound(faults, /status of 401/);
});

labTest(
  "a task is submitted, its log appears while it runs, and its files are kept",
  async (lab) => {
    const { hosts, page, faults } = lab;
    await using _coordinator = await hosts.a.start(coordinator);
    await using _worker = await hosts.b.start(
      "agent worker --worker.coordinators a.lan:50055 --peer.insecure=false",
    );
    await using a = await hosts.a.start(`${node} ${tasks}`);
    await logIn(page, "https://a.lan:8765", a);
    await page.getByRole("link", { name: "Tasks" }).click();
    await page.getByText("No task has been submitted yet").waitFor();
    await page.getByRole("button", { name: "Submit a task" }).click();
    await page.getByLabel("Command").fill(
      "echo begun; mkdir out; echo kept > out/file.txt; " +
        "while [ ! -e /tmp/go ]; do sleep 0.1; done; echo over >&2; exit 3",
    );
    await page.getByText("More", { exact: true }).click();
    await page.getByLabel(/^Files to keep/).fill("out/*");
    await page.getByRole("button", { name: "Submit", exact: true }).click();
    await page.locator(".log-row", { hasText: /^begun$/ }).waitFor();
    await page.locator(".status-line", { hasText: "Running" }).waitFor();
    await hosts.b.ok("touch /tmp/go");
    await page.locator(".log-row.stderr", { hasText: "over" }).waitFor();
    await page.locator(".status-line", { hasText: "Failed" }).waitFor();
    await page.getByText("Exited with code 3").first().waitFor();
    const download = page.waitForEvent("download");
    await page.getByRole("link", { name: "out/file.txt" }).click();
    assert.equal((await download).suggestedFilename(), "file.txt");

    await page.getByRole("button", { name: "Retry" }).click();
    await page.locator(".attempts tr", { hasText: "#2" }).getByText("Failed").waitFor();
    await page.getByRole("link", { name: "Workers" }).click();
    await page.getByRole("button", { name: "drain b" }).click();
    await page.getByRole("button", { name: "resume b" }).waitFor();
    assert.match(
      await hosts.a.ok("agent workers list --coordinators a.lan:50055 --peer.insecure=false"),
      /draining/,
    );
    assertSound(faults);
  },
);

labTest("twenty tabs are current at once, and stay so when the first is closed", async (lab) => {
  const { hosts, context, page, faults } = lab;
  await using a = await hosts.a.start(node);
  await using b = await hosts.b.start(node);
  await logIn(page, "https://a.lan:8765", a);
  const tabs = [page];
  while (tabs.length < 20) {
    const tab = await watchedPage(context, faults);
    await tab.goto("https://a.lan:8765/");
    tabs.push(tab);
  }
  const shown = (tab: Page, health: string) =>
    tab.getByRole("row", { name: /\bb\b/ }).locator(`.dot.${health}`).waitFor();
  await Promise.all(tabs.map((tab) => shown(tab, "ok")));
  b.kill();
  await Promise.all(tabs.map((tab) => shown(tab, "down")));
  await tabs.shift()!.close();
  await using _again = await hosts.b.start(node);
  await Promise.all(tabs.map((tab) => shown(tab, "ok")));
  assertSound(faults);
});

labTest("two nodes on one host are both logged in, and one signs on to the other", async (lab) => {
  const { hosts, context, page, faults } = lab;
  await using a = await hosts.a.start(node);
  await using _b = await hosts.b.start(`${node} --name second-host`);
  await hosts.a.ok("cp -r /etc/agent other && rm other/node-id");
  await using alone = await hosts.a.start(
    "env AGENT_TLS_DIR=/root/other/tls agent node -H 0.0.0.0 --port 8766 --node.health-port 0 " +
      "--node.data-dir /root/other/data",
  );
  await logIn(page, "https://a.lan:8765", a);
  const other = await watchedPage(context, faults);
  await logIn(other, "https://a.lan:8766", alone);
  await other.getByText("This node stands alone").waitFor();
  await page.reload();
  await page.getByRole("button", { name: /second-host/ }).first().click();
  await page.waitForURL(/^https:\/\/10\.77\.0\.2:8765\/$/);
  await page.getByText("seen from second-host").waitFor();
  await other.reload();
  await other.getByText("This node stands alone").waitFor();
  assertSound(faults);
});

labTest("a foreign page can neither read nor post", async (lab) => {
  const { hosts, page, faults } = lab;
  await using _coordinator = await hosts.a.start(coordinator);
  await using a = await hosts.a.start(`${node} ${tasks}`);
  await logIn(page, "https://a.lan:8765", a);
  await hosts.laptop.ok(
    "mkdir -p site && echo '<!doctype html><title>foreign</title>' > site/index.html",
  );
  await using _site = await hosts.laptop.serve(
    "python3 -u -m http.server --bind 127.0.0.1 --directory site 8000",
    /Serving HTTP/,
  );
  await page.goto("http://127.0.0.1:8000/");
  const tried = await page.evaluate(`Promise.all([
    fetch("https://a.lan:8765/api/cluster", { credentials: "include" })
      .then((answer) => answer.text(), () => "refused"),
    fetch("https://a.lan:8765/api/session", { method: "DELETE", credentials: "include" })
      .then(() => "done", () => "refused"),
    fetch("https://a.lan:8765/api/tasks", { method: "POST", mode: "no-cors", credentials: "include",
      body: JSON.stringify({ argv: ["touch", "/tmp/owned"] }) })
      .then((answer) => answer.type, () => "refused"),
  ])`);
  // A page that asks without CORS may not see the answer, so the effect is looked for elsewhere.
  assert.deepEqual(tried, ["refused", "refused", "opaque"]);
  const listed = await hosts.a.ok(
    "agent task list --json --coordinators a.lan:50055 --peer.insecure=false",
  );
  assert.deepEqual(JSON.parse(listed).tasks, []);
  // The page of another site may lead here, and then no cookie is sent.
  await page.setContent('<a href="https://a.lan:8765/#/workers">go</a>');
  await page.getByText("go").click();
  await page.getByRole("heading", { name: "Workers" }).waitFor();
  assertSound(
    faults,
    /CORS|ERR_FAILED|File not found|127\.0\.0\.1:8000|status of 403|status of 503/,
  );
});

labTest("a name that leads to a node from another site is refused", async (lab) => {
  const { hosts, page, faults } = lab;
  await using _node = await hosts.laptop.start("agent node --no-auth");
  await hosts.laptop.ok(
    "cp /etc/hosts hosts && echo '127.0.0.1 evil.example' >> hosts && cat hosts > /etc/hosts",
  );
  await page.goto("http://127.0.0.1:8765/");
  await page.getByRole("heading", { name: "Cluster" }).waitFor();
  const answer = await page.goto("http://evil.example:8765/api/cluster");
  assert.equal(answer!.status(), 421);
  assertSound(faults, /status of 421/);
});

/** Before the nodes stop: nothing went wrong in the pages but what was expected. */
function assertSound(faults: string[], expected = /^$/): void {
  assert.deepEqual(faults.filter((fault) => !expected.test(fault)), []);
}
