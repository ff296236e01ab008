import assert from "node:assert/strict";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { tempHome } from "../support/home.ts";

/** Free ports, so that tests can run in parallel. */
const anywhere = ["--coordinator.port=0", "--coordinator.health-port=0"];

/** A port that was free a moment ago, because port 0 turns the health server off. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

async function get(port: number, path: string): Promise<{ status: number; body: string }> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`);
  return { status: answer.status, body: await answer.text() };
}

Deno.test("a coordinator prints its address, answers probes, and stops in order", async () => {
  const port = freePort();
  await using coordinator = await agent.start("coordinator", [
    "--coordinator.port=0",
    `--coordinator.health-port=${port}`,
  ]);
  assert.match(coordinator.address, /^127\.0\.0\.1:[1-9]\d*$/);
  assert.match(coordinator.stderr(), /starting/);
  assert.deepEqual(await get(port, "/healthz"), { status: 200, body: "ok\n" });
  assert.deepEqual(await get(port, "/readyz"), { status: 200, body: "ready\n" });
  assert.equal((await get(port, "/other")).status, 404);
  const posted = await fetch(`http://127.0.0.1:${port}/metrics`, { method: "POST" });
  await posted.body?.cancel();
  assert.equal(posted.status, 405);
  const args = ["--coordinators", coordinator.address];
  assert.equal((await agent.run(["submit", ...args, "--", "true"])).code, 0);
  const { body } = await get(port, "/metrics");
  assert.match(body, /^agent_tasks\{state="queued"\} 1$/m);
  for (const line of body.trimEnd().split("\n")) {
    assert.match(
      line,
      /^(# (HELP|TYPE) agent_\w+ .+|agent_\w+(\{\w+="[^"]+"(,\w+="[^"]+")*\})? [\d.e+-]+)$/,
    );
  }
  assert.deepEqual(await coordinator.stop(), { code: 0, signal: null });
});

Deno.test("the banner shows an address that clients can dial", async () => {
  const everywhere = ["--coordinator.host=0.0.0.0", "--peer.insecure=true", ...anywhere];
  const cases: [string[], (port: string) => string][] = [
    [[], (port) => `advertise=${Deno.hostname()}:${port}`],
    [["--coordinator.advertise=build1.lan"], (port) => `advertise=build1.lan:${port}`],
    [["--coordinator.advertise=build1.lan:99"], () => "advertise=build1.lan:99"],
  ];
  for (const [args, expected] of cases) {
    await using coordinator = await agent.start("coordinator", [
      ...everywhere,
      ...args,
      "--log.format=text",
    ]);
    const port = coordinator.address.split(":").at(-1)!;
    assert.ok(coordinator.stderr().includes(expected(port)), coordinator.stderr());
  }
});

Deno.test("tasks and state survive kill -9 of the coordinator", async () => {
  await using home = await tempHome();
  let id: string;
  {
    await using coordinator = await agent.start("coordinator", anywhere, { home });
    const at = ["--coordinators", coordinator.address];
    const ran = await agent.run(["submit", ...at, "--idempotency-key", "k", "--", "true"], {
      home,
    });
    id = ran.stdout.trim();
    assert.equal((await agent.run(["state", "put", ...at, "ns", "k", "v"], { home })).code, 0);
    coordinator.kill("SIGKILL");
    await coordinator.exit;
  }
  await using coordinator = await agent.start("coordinator", anywhere, { home });
  const at = ["--coordinators", coordinator.address];
  const [shown, again, value] = await Promise.all([
    agent.run(["task", "show", ...at, id, "--json"], { home }),
    agent.run(["submit", ...at, "--idempotency-key", "k", "--", "true"], { home }),
    agent.run(["state", "get", ...at, "ns", "k"], { home }),
  ]);
  assert.match(shown.stdout, /"state": "queued"/);
  assert.equal(again.stdout.trim(), id);
  assert.equal(value.stdout.trim(), "v");
});

Deno.test("a start that cannot succeed says why", async () => {
  await using home = await tempHome();
  const folder = join(home.path, "data");
  const data = `--coordinator.data-dir=${folder}`;
  const port = freePort();
  await using coordinator = await agent.start(
    "coordinator",
    ["--coordinator.port=0", `--coordinator.health-port=${port}`, data],
    { home },
  );
  const other = `--coordinator.data-dir=${join(home.path, "other")}`;
  const taken = coordinator.address.split(":")[1];
  const cases: [string[], RegExp][] = [
    [[...anywhere, data], /data.tasks\.db" is in use by another coordinator/],
    [[`--coordinator.port=${taken}`, "--coordinator.health-port=0", other], /Could not listen on/],
    [
      ["--coordinator.port=0", `--coordinator.health-port=${port}`, other],
      /choose another port with coordinator\.health_port/,
    ],
  ];
  for (const [args, text] of cases) {
    const { code, stderr } = await agent.run(["coordinator", ...args], { home, withinMs: 20_000 });
    assert.match(stderr, text);
    assert.equal(code, 1, stderr);
  }
  const damaged = join(home.path, "damaged");
  await Deno.mkdir(damaged);
  await Deno.writeTextFile(join(damaged, "tasks.db"), "no database ".repeat(1_000));
  const ran = await agent.run(["coordinator", ...anywhere, `--coordinator.data-dir=${damaged}`], {
    home,
  });
  assert.match(ran.stderr, /damaged.tasks\.db" is damaged/);
  assert.equal(ran.code, 1);
});

Deno.test("a role or client that could read the CA key is not started", async () => {
  await using home = await tempHome();
  assert.equal((await agent.run(["tls", "init"], { home })).code, 0);
  const around = join(home.tls, "..");
  const start = async (role: string, port: string) => {
    const args = [role, `--${role}.${port}=0`, `--${role}.data-dir=${around}`];
    const { code, stderr } = await agent.run(args, { home });
    return [code, stderr] as const;
  };
  const [refused, reason] = await start("coordinator", "port");
  assert.equal(refused, 3, reason);
  assert.match(reason, /contains the CA key ".*ca\.key", .*\n {2}next: /);
  // A worker's thread is granted folders of its own below; its data folder is not shared at all.
  const [failed, why] = await start("worker", "health-port");
  assert.equal(failed, 1, why);
  assert.match(why, /holds other things, such as "tls"/);
  const saving = await agent.run(["task", "artifacts", "1m82cvjj69m6nm", "-o", around], { home });
  assert.equal(saving.code, 3, saving.stderr);
  assert.match(saving.stderr, /contains the CA key/);
});
