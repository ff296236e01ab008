import assert from "node:assert/strict";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { freePort } from "../support/eventually.ts";
import { temporaryFolder } from "../support/temporary.ts";

/** In a namespace of its own a program gets another /etc/hosts, which needs root. */
const canMount = await (async () => {
  try {
    const { success } = await new Deno.Command("unshare", { args: ["--mount", "true"] }).output();
    return success;
  } catch {
    return false;
  }
})();

Deno.test({
  name: "of a name with several addresses, each is tried and named in the error",
  ignore: !canMount,
  fn: async (t) => {
    await using folder = await temporaryFolder();
    await using coordinator = await agent.start("coordinator", [
      ...["--coordinator.port=0", "--coordinator.health-port=0"],
    ]);
    const port = Number(coordinator.address.split(":").at(-1));
    const list = async (addresses: string[], dialled = port) => {
      const hosts = join(folder.path, "hosts");
      await Deno.writeTextFile(hosts, addresses.map((each) => `${each} hub.test\n`).join(""));
      const mount = 'mount --make-rprivate / && mount --bind "$1" /etc/hosts && shift && exec "$@"';
      const dial = ["--peer.insecure=true", "--coordinators", `hub.test:${dialled}`];
      return await agent.run(["workers", "list", ...dial], {
        through: ["unshare", "--mount", "bash", "-c", mount, "-", hosts],
      });
    };
    for (
      const addresses of [
        ["127.0.0.1"],
        ["127.0.0.5", "127.0.0.1"],
        ["127.0.0.1", "127.0.0.5"],
        ["127.0.0.5", "127.0.0.6", "127.0.0.7", "127.0.0.1"],
        // Not routed to: no answer, not even a refusal.
        ["192.0.2.1", "127.0.0.1"],
      ]
    ) {
      await t.step(addresses.join(", "), async () => {
        const { code, stderr } = await list(addresses);
        assert.equal(code, 0, stderr);
      });
    }
    await t.step("none that answers", async () => {
      const { code, stderr } = await list(["127.0.0.5", "127.0.0.1"], freePort());
      assert.equal(code, 1);
      assert.match(stderr, /127\.0\.0\.5: nothing listens there; 127\.0\.0\.1: nothing listens/);
    });
  },
});
