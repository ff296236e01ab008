import assert from "node:assert/strict";
import { agent } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { openRaw, resetCall } from "../support/http2_frames.ts";

const path = "/agent.v1.TaskService/GetTask";

Deno.test("a caller that keeps resetting calls is hung up on, and others are served", async (t) => {
  await using coordinator = await agent.start("coordinator", [
    ...["--coordinator.port=0", "--coordinator.health-port=0"],
  ]);
  const port = Number(coordinator.address.split(":").at(-1));

  await t.step("10 each 20 ms", async () => {
    using caller = await openRaw(port);
    let sent = 0;
    for (let stream = 1; !caller.isOver() && sent < 2_000;) {
      const bytes: number[] = [];
      for (let n = 0; n < 10; n++, stream += 2, sent++) bytes.push(...resetCall(stream, path));
      await caller.send(bytes);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    // On a busy machine more are on their way when it hangs up; without a limit none would be.
    assert.ok(sent < 2_000, `hung up on after ${sent}`);
    await caller.over;
  });

  await t.step("5,000 at once", async () => {
    using caller = await openRaw(port);
    const bytes = Array.from({ length: 5_000 }, (_, n) => resetCall(2 * n + 1, path)).flat();
    await caller.send(bytes);
    await caller.over;
  });

  await eventually(5_000, () => coordinator.stderr().includes("resets its calls"));

  const { code, stderr } = await agent.run([
    ...["workers", "list", "--coordinators", coordinator.address],
  ]);
  assert.equal(code, 0, stderr);
});
