/** Runs the life of certificates, as README and docs/tls.md describe it. */
import assert from "node:assert/strict";
import { agent } from "../support/agent.ts";
import { component, findProgram, programs } from "../support/component.ts";
import { type Host, hostsCheck, startHosts } from "../support/hosts.ts";
import { loadWalk, stepsBelow, Typist } from "../support/walk.ts";

const names = ["hub", "gpu1", "gpu2", "laptop"] as const;
const readme = await loadWalk("README.md", names);
const tls = await loadWalk("docs/tls.md", names);
const ready = await component(
  "several hosts on one machine",
  ...hostsCheck,
  programs("openssl", "curl", "certutil"),
  async () => await findProgram("update-ca-certificates") ? undefined : "not of Debian's family",
);

Deno.test({
  name: "README, docs/tls.md: certificates of three hosts, from the first day to the last",
  ...ready,
  ignore: ready.ignore || !agent.compiled,
  async fn() {
    await using hosts = await startHosts([...names]);
    await using typist = new Typist(hosts.list);
    for (const title of ["Set up real hosts", "Add a host"]) {
      await typist.type(stepsBelow(readme, title));
    }
    await typist.type(stepsBelow(tls, "From the first day to the last"));
    assert.equal(await hosts.gpu2.ok("ls -A /etc/agent/tls 2>/dev/null || true"), "");
    assert.match(
      await hosts.hub.ok("openssl x509 -in /etc/agent/tls/server.crt -noout -ext subjectAltName"),
      /DNS:tasks\.lan/,
    );
    for (const host of [hosts.hub, hosts.gpu1]) await host.ok("agent tls status --check");

    const { add, remove } = await advice(hosts.laptop);
    const served = "openssl s_server -www -accept 8443 " +
      "-cert /etc/agent/tls/server.crt -key /etc/agent/tls/server.key";
    await using _ = await hosts.hub.serve(served, /ACCEPT/);
    const trusts = async () => (await hosts.laptop.run("curl -sS https://hub.lan:8443/")).code;
    assert.equal(await trusts(), 60);
    await hosts.laptop.ok(add);
    assert.equal(await trusts(), 0);
    await hosts.laptop.ok(remove);
    assert.equal(await trusts(), 60);
  },
});

/** The commands that trust-system prints for Debian, fetched as in docs/tls.md. */
async function advice(laptop: Host): Promise<{ add: string; remove: string }> {
  const printed = await laptop.ok("ssh hub.lan agent tls trust-system --os debian");
  const indented = (text: string) => [...text.matchAll(/^ {4}(.+)$/gm)].map(([, line]) => line);
  const blocks = printed.split("\n\n").filter((block) => block.includes("  to undo:"))
    .filter((block) => !block.startsWith("Firefox"));
  assert(blocks.length >= 2, printed);
  const halves = blocks.map((block) => block.split("  to undo:"));
  return {
    add: ["set -e", ...halves.flatMap(([add]) => indented(add!))].join("\n"),
    remove: ["set -e", ...halves.flatMap(([, remove]) => indented(remove!))].join("\n"),
  };
}
