import assert from "node:assert/strict";
import { agent } from "../support/agent.ts";
import { component, programs } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";
import { hostsCheck, startHosts } from "../support/hosts.ts";
import { assertAllBelow, loadWalk, stepsBelow, Typist } from "../support/walk.ts";

const file = "README.md";
const walk = await loadWalk(file, ["hub", "gpu1"]);
const read = (path: string) => Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
const text = await read(file);
/** A new user should be able to read all of it. */
const mostLines = 250;
const ready = await component("hosts of their own", ...hostsCheck, programs("curl"));

const typed = [
  "Set up real hosts",
  "Add a host",
  "See it in a browser",
  "Day to day",
  "Settings",
  "Certificates",
];

Deno.test("README: every command is run by a test", () => {
  assertAllBelow(walk, typed);
  // demo_test.ts runs the demo; scripts/test compiles the executable.
  const elsewhere = new Set(["scripts/agent demo", "scripts/compile"]);
  assert.deepEqual([...new Set(text.match(/^scripts\/.+$/gm))].toSorted(), [...elsewhere].sort());
  assert.deepEqual(
    new Set(walk.foreign.map(({ on }) => on)),
    new Set(["your machine, in the checkout"]),
  );
});

Deno.test({
  name: "README: two hosts are set up and used as described",
  ...ready,
  ignore: ready.ignore || !agent.compiled,
  async fn() {
    await using hosts = await startHosts(["hub", "gpu1"]);
    // It has nothing but sshd.
    await hosts.gpu1.ok("rm /usr/local/bin/agent");
    await using typist = new Typist(hosts.list);
    for (const title of typed) await typist.type(stepsBelow(walk, title));
    assert.match(await hosts.hub.ok("cat results/out/host.txt"), /\bhub\b/);
    assert.match(await hosts.hub.ok("agent workers list"), /Warning of hub: .*worker\.user/);
    const { workers } = JSON.parse(await hosts.hub.ok("agent workers list --json"));
    assert.deepEqual(
      workers.map(({ id, health }: { id: string; health: string }) => `${id} ${health}`),
      ["gpu1 healthy", "hub healthy"],
    );
    await eventually(30_000, async () => {
      const { nodes } = JSON.parse(
        await hosts.gpu1.ok(
          "curl -sS --cacert /etc/agent/tls/ca-bundle.crt " +
            '-H "Authorization: Bearer $(cat /etc/agent/token)" https://hub.lan:8765/api/cluster',
        ),
      ) as { nodes: { name: string; reachable: boolean }[] };
      const found = nodes.map(({ name, reachable }) => `${name} ${reachable}`).toSorted();
      assert.deepEqual(found, ["gpu1 true", "hub true"]);
      return true;
    });
  },
});

Deno.test(`README: it has at most ${mostLines} lines`, () => {
  assert.ok(text.split("\n").length <= mostLines);
});
