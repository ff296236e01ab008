import assert from "node:assert/strict";
import { component, findProgram, programs } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";
import { type Host, hostsCheck, startHosts } from "../support/hosts.ts";
import { assertAllBelow, loadWalk, stepsBelow, Typist } from "../support/walk.ts";

const file = "docs/trust-in-browsers.md";
const walk = await loadWalk(file, ["a", "laptop"]);
const store = "Chromium, Chrome, Edge";
const page = "https://a.lan:8443/";

const ready = await component(
  "Chromium on a host of its own",
  ...hostsCheck,
  programs("chromium", "certutil", "openssl", "curl"),
  async () => await findProgram("update-ca-certificates") ? undefined : "not of Debian's family",
);

Deno.test(`${file}: every command that can run here is run`, () => {
  assertAllBelow(walk, [
    "Fetch the certificate of the CA",
    "See that it works",
    store,
    `Linux: ${store}`,
    "Debian, Ubuntu, Alpine",
    "Linux: Debian, Ubuntu, Alpine",
  ]);
});

Deno.test({
  name:
    `${file}: Chromium trusts the CA after the printed commands, and no longer after those that undo them`,
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "laptop"]);
    await using typist = new Typist(hosts.list);
    await hosts.a.ok("agent tls init");
    await typist.type(stepsBelow(walk, "Fetch the certificate of the CA"));
    const served = stepsBelow(walk, "See that it works");
    await typist.type(served.filter(({ runsOn }) => runsOn));

    assert.match(await opened(hosts.laptop), /ERR_CERT_AUTHORITY_INVALID/);
    await typist.type(stepsBelow(walk, store));
    assert.match(await opened(hosts.laptop), /s_server/);
    await typist.type(stepsBelow(walk, `Linux: ${store}`));
    assert.match(await opened(hosts.laptop), /ERR_CERT_AUTHORITY_INVALID/);
  },
});

Deno.test({
  name:
    `${file}: curl trusts the CA after the commands for Debian, and no longer after those that undo them`,
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "laptop"]);
    await using typist = new Typist(hosts.list);
    await hosts.a.ok("agent tls init");
    await typist.type(stepsBelow(walk, "Fetch the certificate of the CA"));
    const [serve, ...check] = stepsBelow(walk, "See that it works");
    await typist.type([serve!]);

    const refused = async () => assert.equal((await hosts.laptop.run(`curl -sS ${page}`)).code, 60);
    await refused();
    await typist.type(stepsBelow(walk, "Debian, Ubuntu, Alpine"));
    await typist.type(check);
    await typist.type(stepsBelow(walk, "Linux: Debian, Ubuntu, Alpine"));
    await refused();
  },
});

Deno.test({
  name: `${file}: Firefox shows a node's UI after its policy is installed as printed`,
  ...await component(
    "Firefox on a host of its own",
    ...hostsCheck,
    programs("firefox-esr", "python3"),
  ),
  async fn() {
    await using hosts = await startHosts(["a", "laptop"]);
    const { a, laptop } = hosts;
    await using typist = new Typist(hosts.list);
    await a.ok("agent tls init");
    await typist.type(stepsBelow(walk, "Fetch the certificate of the CA"));
    await using _node = await a.start("agent node -H 0.0.0.0 --node.health-port=0");
    const client = await Deno.readTextFile(new URL("firefox.py", import.meta.url));
    await laptop.ok("cat >firefox.py", client);
    const url = `https://a.lan:8765/?token=${(await a.ok("agent token show")).trim()}`;
    const seesNode = `'document.body.innerText.includes("this node")'`;
    const shown = () => laptop.ok(`python3 firefox.py '${url}' ${seesNode}`);
    assert.match(await shown(), /^Firefox: insecure certificate/);

    const text = await Deno.readTextFile(new URL(`../../${file}`, import.meta.url));
    const [, policyFile] = /in `(\/etc\/firefox\/\S+)`:/.exec(text)!;
    const [, policy] = /^```json\n([^]*?)^```$/m.exec(text)!;
    await laptop.ok("cp agent-ca.crt /usr/local/share/ca-certificates/agent-ca.crt");
    await laptop.ok(`mkdir -p $(dirname ${policyFile}) && cat >${policyFile}`, policy!);
    assert.match(await shown(), /stands alone[^]*this node/);
  },
});

/**
 * What Chromium shows of the page. Chromium aborts a request while an interface changes, which on a
 * busy machine may happen late, so the page is loaded again. As root it runs only without its
 * sandbox.
 */
async function opened(host: Host): Promise<string> {
  return await eventually(60_000, async () => {
    const { stdout, stderr } = await host.run(
      `chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run ` +
        `--virtual-time-budget=5000 --dump-dom ${page}`,
    );
    const shown = stdout + stderr;
    return shown.includes("ERR_NETWORK_CHANGED") ? undefined : shown;
  });
}
