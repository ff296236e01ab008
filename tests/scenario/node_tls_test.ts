/** The certificates of a node while it runs. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { eventually, freePort } from "../support/eventually.ts";
import { tempHome } from "../support/home.ts";
import { anywhere, token } from "../support/lone_node.ts";
import { ask } from "../support/node_api.ts";
import { makeAuthority } from "../support/openssl.ts";

Deno.test("a renewed certificate is served without a restart, and plain HTTP gets a hint", async () => {
  await using home = await tempHome();
  await agent.run(["tls", "init"], { home });
  await using node = await agent.start("node", anywhere, { home });
  const port = Number(node.address.split(":")[1]);
  const ca = Deno.readTextFileSync(join(home.tls, "ca-bundle.crt"));
  const headers = { authorization: `Bearer ${token(home)}` };
  const shown = async () => {
    const { text } = await ask(port, "/api/cluster", { ca, headers });
    return JSON.parse(text).nodes[0].certificate_fingerprint as string;
  };
  const before = await shown();
  assert.equal((await agent.run(["tls", "renew"], { home })).code, 0);
  await eventually(10_000, async () => await shown() !== before);
  const plain = await fetch(`http://${node.address}/`);
  assert.equal(plain.status, 400);
  assert.match(await plain.text(), /https:\/\//);
});

Deno.test("an expired certificate is served, and readiness fails", async () => {
  await using home = await tempHome();
  const authority = await makeAuthority(home.path, "authority");
  const { certFile, keyFile } = await authority.issue("expired", { days: -1 });
  await using node = await agent.start("node", [
    "--port=0",
    `--node.health-port=${freePort()}`,
    "--tls-cert",
    certFile,
    "--tls-key",
    keyFile,
  ], { home });
  await node.said("expired");
  const health = /"health":"([^"]+)"/.exec(node.stderr())![1]!;
  const answered = await fetch(`http://${health}/readyz`);
  assert.equal(answered.status, 503);
  assert.match(await answered.text(), /expired/);
});

Deno.test("a bundle and a certificate that come later are used, without a restart", async () => {
  await using home = await tempHome();
  const authority = await makeAuthority(home.path, "authority");
  const served = await authority.issue("served");
  const pair = ["--tls-cert", served.certFile, "--tls-key", served.keyFile];
  await using node = await agent.start("node", [...anywhere, ...pair], { home });
  const port = Number(node.address.split(":")[1]);
  const read = Deno.readTextFileSync;
  const ca = read(authority.caFile);
  const asPeer = async (certFile: string, keyFile: string) => {
    const shown = { ca, cert: read(certFile), key: read(keyFile) };
    return (await ask(port, "/api/cluster/node_local", shown)).status;
  };
  const other = await authority.issue("peer");
  assert.equal(await asPeer(other.certFile, other.keyFile), 401);
  // The bundle begins with the CA of this host, whose certificate is there from now on, too.
  assert.equal((await agent.run(["tls", "init"], { home })).code, 0);
  const own = [join(home.tls, "server.crt"), join(home.tls, "server.key")] as const;
  await eventually(15_000, async () => await asPeer(...own) === 200);
  assert.equal(await asPeer(other.certFile, other.keyFile), 401);
  assert.equal((await agent.run(["tls", "import-ca", authority.caFile], { home })).code, 0);
  await eventually(15_000, async () => await asPeer(other.certFile, other.keyFile) === 200);
  const { text } = await ask(port, "/api/cluster", {
    ca,
    headers: { authorization: `Bearer ${token(home)}` },
  });
  const { warnings } = JSON.parse(text).nodes[0] as { warnings: string[] };
  assert.deepEqual(warnings.filter((each) => each.includes("restart")), []);
});

Deno.test("where TLS is switched on or off, a running node says that it needs a restart", async () => {
  await using home = await tempHome();
  await using node = await agent.start("node", anywhere, { home });
  const headers = () => ({ authorization: `Bearer ${token(home)}` });
  const warnings = async () => {
    const answer = await fetch(`http://${node.address}/api/cluster`, { headers: headers() });
    const text = await answer.text();
    assert.equal(answer.status, 200, text);
    return JSON.parse(text).nodes[0].warnings as string[];
  };
  assert.deepEqual(await warnings(), []);
  await agent.run(["tls", "init"], { home });
  const wanted = "TLS was switched on for this host, and this node still serves plain HTTP";
  await eventually(
    15_000,
    async () => (await warnings())[0] === `${wanted}: agent service restart node`,
  );
  await node.said(wanted);
  await agent.run(["tls", "disable"], { home });
  await eventually(15_000, async () => (await warnings()).length === 0);
  await node.stop();
});
