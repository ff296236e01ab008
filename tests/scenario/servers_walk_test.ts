/** The commands of docs/servers.md, typed as they are printed. */
import { component, programs } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";
import { hostsCheck, threeHosts } from "../support/hosts.ts";
import { assertAllBelow, loadWalk, stepsBelow, Typist } from "../support/walk.ts";

const walk = await loadWalk("docs/servers.md", ["a", "b", "c"]);
const ready = await component(
  "several hosts on one machine",
  ...hostsCheck,
  programs("openssl", "curl"),
);

Deno.test("docs/servers.md: all that can be typed here is typed", () => {
  assertAllBelow(walk, ["Start a cluster", "Verify it", "Log in"]);
});

Deno.test({
  name: "docs/servers.md: a cluster is started, verified, and logged in to",
  ...ready,
  async fn() {
    await using hosts = await threeHosts();
    await using typist = new Typist(hosts.list);
    await typist.type(stepsBelow(walk, "Start a cluster"));
    await eventually(
      30_000,
      async () =>
        (await hosts.b.run("agent cluster status")).stdout.includes("3 nodes, all reachable"),
    );
    await typist.type(stepsBelow(walk, "Verify it"));
    await typist.type(stepsBelow(walk, "Log in"));
  },
});
