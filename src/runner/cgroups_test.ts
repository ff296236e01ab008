import assert from "node:assert/strict";
import { ownCgroup } from "./cgroups.ts";

Deno.test("the own cgroup is found wherever version 2 is mounted", () => {
  const unified =
    "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
  assert.equal(
    ownCgroup("0::/system.slice/agent.service\n", unified),
    "/sys/fs/cgroup/system.slice/agent.service",
  );
  const hybrid = "39 31 0:36 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" +
    "41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw\n";
  assert.equal(ownCgroup("3:cpu:/a\n0::/\n", hybrid), "/sys/fs/cgroup/uni fied/");
  const part = "30 24 0:26 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
  assert.equal(ownCgroup("0::/docker/1/x\n", part), "/sys/fs/cgroup/x");
  assert.equal(ownCgroup("0::/docker/12\n", part), undefined);
  assert.equal(ownCgroup("0::/../other\n", unified), undefined);
  assert.equal(ownCgroup("3:cpu:/a\n", hybrid), undefined);
});
