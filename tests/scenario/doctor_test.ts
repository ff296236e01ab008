/** `agent doctor` on a real host: what is wrong is named, with the command that fixes it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { freePort } from "../support/eventually.ts";
import { type Home, tempHome } from "../support/home.ts";
import { temporaryFolder } from "../support/temporary.ts";

/** Ports of no role that other tests run. */
function quiet(): string[] {
  return [
    `--coordinator.port=${freePort()}`,
    `--node.port=${freePort()}`,
    "--node.mdns=false",
  ];
}

async function codes(home: Home, ...args: string[]): Promise<Map<string, string>> {
  const ran = await agent.run(["doctor", "--json", ...quiet(), ...args], { home });
  assert.ok(ran.code === 0 || ran.code === 3, ran.stderr);
  const { findings } = JSON.parse(ran.stdout) as { findings: { code: string; what: string }[] };
  const found = new Map<string, string>();
  for (const { code, what } of findings) found.set(code, `${found.get(code) ?? ""}${what}\n`);
  return found;
}

Deno.test("a host that works has no problem, and the coordinator that it uses works", async () => {
  await using home = await tempHome();
  assert.equal((await agent.run(["tls", "init"], { home })).code, 0);
  const flags = ["--coordinator.port=0", "--coordinator.health-port=0", "--peer.insecure=false"];
  await using coordinator = await agent.start("coordinator", flags, { home });
  const ran = await agent.run(
    ["doctor", ...quiet(), "--peer.insecure=false", coordinator.address],
    { home },
  );
  assert.equal(ran.code, 0, ran.stdout + ran.stderr);
  assert.ok(ran.stdout.includes(`✓ ${coordinator.address} works`), ran.stdout);
});

Deno.test("faults of connections are named from outside", async () => {
  await using home = await tempHome();
  await using other = await tempHome();
  for (const each of [home, other]) await agent.run(["tls", "init"], { home: each });
  const flags = ["--coordinator.port=0", "--coordinator.health-port=0", "--peer.insecure=false"];
  await using foreign = await agent.start("coordinator", flags, { home: other });
  const secure = "--peer.insecure=false";
  assert.ok((await codes(home, secure, foreign.address)).has("foreign_ca"));
  assert.ok((await codes(home, foreign.address)).has("plaintext_to_tls"));
  assert.ok((await codes(home, secure, `127.0.0.1:${freePort()}`)).has("refused"));
  assert.ok((await codes(home, secure, "no-such-host.invalid:50055")).has("name_not_found"));
  const listen = { port: 0, hostname: "127.0.0.1", onListen() {} };
  await using web = Deno.serve(listen, () => new Response("no agent"));
  const args = ["doctor", "--json", `--node.port=${web.addr.port}`, "--node.mdns=false"];
  const { findings } = JSON.parse((await agent.run(args, { home })).stdout);
  assert.ok(findings.some(({ code }: { code: string }) => code === "port_taken"));
});

Deno.test("faults of files and settings are named", async () => {
  await using home = await tempHome();
  await agent.run(["tls", "init"], { home });
  const token = join(home.tls, "..", "token");
  await Deno.writeTextFile(token, `${"x".repeat(43)}\n`, { mode: 0o644 });
  await Deno.chmod(token, 0o644);
  assert.ok((await codes(home)).has("token_readable"));
  await Deno.remove(join(home.tls, "server.key"));
  assert.ok([...(await codes(home)).keys()].some((code) => code.startsWith("tls_")));
  await Deno.writeTextFile(home.configFile, "coordinator: { prot: 1 }\n");
  assert.match((await codes(home)).get("configuration") ?? "", /prot/);
});

Deno.test("a bundle for a report holds no secret", async () => {
  await using home = await tempHome();
  await using folder = await temporaryFolder();
  await agent.run(["tls", "init"], { home });
  const secret = (name: string) => `${name}-${crypto.randomUUID()}`;
  const [value, variable, password] = ["value", "variable", "password"].map(secret);
  await using coordinator = await agent.start(
    "coordinator",
    ["--coordinator.port=0", "--coordinator.health-port=0"],
    { home },
  );
  const dial = `--coordinators=${coordinator.address}`;
  const put = ["state", "put", dial, "build", "key", value!];
  assert.equal((await agent.run(put, { home })).code, 0);
  const submit = ["submit", dial, "--env", `SECRET=${variable}`, "--", "true"];
  assert.equal((await agent.run(submit, { home })).code, 0);
  await using node = await agent.start(
    "node",
    ["--node.port=0", "--node.health-port=0", "--node.mdns=false"],
    { home },
  );
  const token = (await Deno.readTextFile(join(home.tls, "..", "token"))).trim();
  using client = Deno.createHttpClient({
    caCerts: [await Deno.readTextFile(join(home.tls, "ca/ca.crt"))],
  });
  const session = await fetch(`https://${node.address}/?token=${token}`, { client });
  await session.body?.cancel();
  const [cookie] = /[\w-]{20,}(?=;)/.exec(session.headers.get("set-cookie") ?? "") ?? [];
  assert.ok(cookie, "no session");

  const env = {
    DATABASE_PASSWORD: variable!,
    AGENT_TYPO: variable!,
    HTTPS_PROXY: `http://user:${password}@proxy.lan:3128`,
    AGENT_SERVER_URL: `https://user:${password}@gpu1.lan:8765/?token=${token}`,
  };
  const file = join(folder.path, "report.json");
  const args = ["doctor", ...quiet(), "--bundle", file, coordinator.address, node.address];
  const ran = await agent.run(args, { home, env });
  assert.ok(ran.code === 0 || ran.code === 3, ran.stderr);
  const text = await Deno.readTextFile(file);
  assert.ok(Array.isArray(JSON.parse(text).findings));
  assert.equal((await Deno.stat(file)).mode! & 0o777, 0o600);
  const keys = await Promise.all(
    ["ca/ca.key", "server.key"].map((name) => Deno.readTextFile(join(home.tls, name))),
  );
  const lines = keys.flatMap((key) => key.split("\n")).filter((line) => line.length > 20);
  const secrets = [token, value!, variable!, password!, cookie, "PRIVATE KEY", ...lines];
  for (const each of secrets) assert.ok(!`${text}${ran.stdout}`.includes(each), each);
});
