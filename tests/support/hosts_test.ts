import assert from "node:assert/strict";
import { component } from "./component.ts";
import { hostsCheck, threeHosts } from "./hosts.ts";

const ready = await component("several hosts on one machine", ...hostsCheck);

Deno.test({
  name: "hosts have names, files and an agent of their own, and reach each other by ssh",
  ...ready,
  async fn() {
    let namespace: string;
    {
      await using hosts = await threeHosts();
      assert.equal(
        await hosts.a.ok("hostname; ssh b.lan hostname; ssh c 'cat /etc/hostname'"),
        "a\nb\nc\n",
      );
      await hosts.a.ok("echo hello >/etc/agent/x; scp -q /etc/agent/x b.lan:/etc/agent/y");
      assert.equal(await hosts.b.ok("ls /etc/agent; cat /etc/agent/y"), "y\nhello\n");
      assert.match(
        await hosts.c.ok("agent version; agent sandbox 2>/dev/null; pwd"),
        /^agent .*\n\/root\n$/s,
      );
      assert.equal((await hosts.c.run("exit 7")).code, 7);
      namespace = await hosts.a.ok("readlink /proc/self/ns/net");
    }
    for await (const { name } of Deno.readDir("/proc")) {
      const link = await Deno.readLink(`/proc/${name}/ns/net`).catch(() => "");
      assert.notEqual(link, namespace.trim(), `process ${name} is left`);
    }
  },
});
