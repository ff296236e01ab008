import assert from "node:assert/strict";
import { agent } from "../support/agent.ts";
import { tempHome } from "../support/home.ts";

for (const [signal, code] of [["SIGHUP", 129], ["SIGINT", 130], ["SIGTERM", 143]] as const) {
  Deno.test(`a command that waits for a silent coordinator ends on ${signal}`, async () => {
    await using home = await tempHome();
    using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = silent.addr as Deno.NetAddr;
    const { command, args } = agent.command(
      "state",
      "get",
      "namespace",
      "key",
      "--coordinators",
      `127.0.0.1:${port}`,
    );
    const child = new Deno.Command(command, {
      args,
      env: home.env,
      clearEnv: true,
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    using _dialled = await silent.accept();
    child.kill(signal);
    const ended = await child.output();
    assert.equal(ended.code, code);
    assert.equal(ended.signal, null, "it ended by itself");
    assert.equal(new TextDecoder().decode(ended.stdout), "");
  });
}

Deno.test("a reader that has seen enough ends a command quietly", async () => {
  await using home = await tempHome();
  const { command, args } = agent.command("config", "show", "--json");
  const child = new Deno.Command(command, {
    args,
    env: home.env,
    clearEnv: true,
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  await child.stdout.cancel();
  const [status, stderr] = await Promise.all([child.status, new Response(child.stderr).text()]);
  assert.equal(status.code, 0);
  assert.equal(stderr, "");
});
