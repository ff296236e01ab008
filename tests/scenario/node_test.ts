/** A node on its own: its flags, its login, its connections. */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { agent, type Running } from "../support/agent.ts";
import { component, programs } from "../support/component.ts";
import { eventually, slowness } from "../support/eventually.ts";
import { tempHome } from "../support/home.ts";
import { anywhere, loginUrl, token } from "../support/lone_node.ts";
import { ask } from "../support/node_api.ts";

Deno.test("what cannot be meant is refused, and each refusal says what to do", async () => {
  await using home = await tempHome();
  const cases: [args: string[], code: number, says: RegExp][] = [
    [["-H", "0.0.0.0"], 3, /without TLS/],
    [["-H", "::"], 3, /without TLS/],
    [["--tls"], 2, /no certificate/],
    [["--tls", "--no-tls"], 2, /twice/],
    [["--tls-cert", "a.crt"], 2, /--tls-key is not/],
    [["--tls-key", "a.key"], 2, /--tls-cert is not/],
    [["--no-tls", "--tls-cert", "a.crt", "--tls-key", "a.key"], 2, /contradict/],
    [["--tls-cert", "a.crt", "--tls-key", "a.key"], 2, /does not exist/],
  ];
  for (const [args, code, says] of cases) {
    const ran = await agent.run(["node", ...anywhere, ...args], { home });
    assert.equal(ran.code, code, `${args}: ${ran.stderr}`);
    assert.match(ran.stderr, says);
    assert.match(ran.stderr, /next: /);
  }
});

Deno.test("a node on loopback serves its UI, its login, and its token", async () => {
  await using home = await tempHome();
  await using node = await agent.start("node", anywhere, { home });
  const url = `http://${node.address}`;
  assert.equal(node.ready.role, "node");
  const health = await (await fetch(`${url}/api/health`)).json();
  assert.equal(health.status, "ok");
  const page = await fetch(url);
  assert.match(await page.text(), /<!doctype html>/i);
  assert.match(page.headers.get("content-security-policy")!, /default-src 'none'/);
  assert.equal((await Deno.stat(join(dirname(home.tls), "token"))).mode! & 0o777, 0o600);

  const first = await fetch(loginUrl(node));
  await first.body?.cancel();
  assert.equal(first.status, 200);
  const cookie = first.headers.get("set-cookie")!.split(";")[0]!;
  const session = () => fetch(`${url}/api/session`, { headers: { cookie } });
  assert.equal((await (await session()).json()).node_id, health.node_id);
  const second = await fetch(loginUrl(node));
  await second.body?.cancel();
  assert.equal(second.status, 401);

  // A new token ends all sessions.
  const before = token(home);
  assert.equal((await agent.run(["token", "rotate"], { home })).code, 0);
  assert.notEqual(token(home), before);
  await eventually(10_000, async () => {
    const again = await session();
    await again.body?.cancel();
    return again.status === 401;
  });
  const made = await agent.run(["token", "url"], { home });
  assert.equal((await fetch(made.stdout.trim())).status, 200, made.stderr);
  assert.equal((await node.stop()).code, 0);
  // Nothing secret was written down, but the login URLs that are meant to be read.
  for (const secret of [before, token(home), cookie.split("=")[1]!]) {
    assert.ok(!node.stderr().includes(secret));
  }
  const gone = await agent.run(["cluster", "status", "--server.url", url], { home });
  assert.equal(gone.code, 1);
  assert.match(gone.stderr, /does not answer/);
});

Deno.test("a browser stays logged in when its node is killed and started again", async () => {
  await using home = await tempHome();
  const first = await agent.start("node", anywhere, { home });
  const login = await fetch(loginUrl(first));
  await login.body?.cancel();
  const cookie = login.headers.get("set-cookie")!.split(";")[0]!;
  const status = async (node: Running) => {
    const answer = await fetch(`http://${node.address}/api/session`, { headers: { cookie } });
    await answer.body?.cancel();
    return answer.status;
  };
  assert.equal(await status(first), 200);
  first.kill("SIGKILL");
  await first[Symbol.asyncDispose]();
  {
    await using second = await agent.start("node", anywhere, { home });
    assert.equal(await status(second), 200);
    await second.stop();
  }
  // Nobody is logged in by an old session after a rotation, whenever it was.
  await agent.run(["token", "rotate"], { home });
  await using third = await agent.start("node", anywhere, { home });
  assert.equal(await status(third), 401);
});

Deno.test("2,000 idle connections do not keep others from being served", async () => {
  await using home = await tempHome();
  await agent.run(["tls", "init"], { home });
  await using node = await agent.start("node", anywhere, { home });
  const port = Number(node.address.split(":")[1]);
  const ca = Deno.readTextFileSync(join(home.tls, "ca-bundle.crt"));
  const idle: Deno.TcpConn[] = [];
  try {
    while (idle.length < 2_000) {
      const more = Array.from({ length: 100 }, () => Deno.connect({ hostname: "127.0.0.1", port }));
      idle.push(...await Promise.all(more));
    }
    // Every third begins a handshake and leaves it at that.
    const begun = idle.filter((_, n) => n % 3 === 0);
    const hello = new Uint8Array([22, 3, 1, 2, 0]);
    // The node may have ended the first ones already.
    await Promise.allSettled(begun.map((connection) => connection.write(hello)));
    const start = performance.now();
    assert.equal((await ask(port, "/api/health", { ca })).status, 200);
    assert.ok(performance.now() - start < 5_000 * slowness());
  } finally {
    for (const connection of idle) connection.close();
  }
});

Deno.test({
  name: "the parts of an answer do not wait for each other's acknowledgement",
  ...await component("strace", programs("strace")),
  async fn() {
    await using home = await tempHome();
    await agent.run(["tls", "init"], { home });
    const trace = join(home.path, "trace");
    const through = ["strace", "-D", "-f", "-e", "trace=accept4,setsockopt", "-o", trace];
    await using node = await agent.start("node", anywhere, { home, through });
    const caFile = join(home.tls, "ca", "ca.crt");
    using client = Deno.createHttpClient({ caCerts: [await Deno.readTextFile(caFile)] });
    assert.equal((await fetch(`https://${node.address}/api/health`, { client })).status, 200);
    const calls = await Deno.readTextFile(trace);
    // Of that connection: its descriptor is what accept4 gave.
    const accepted = /accept4\(.* = (\d+)$/m.exec(calls)?.[1];
    assert.match(calls, new RegExp(`setsockopt\\(${accepted}, SOL_TCP, TCP_NODELAY, \\[1\\]`));
  },
});
