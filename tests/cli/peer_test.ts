import assert from "node:assert/strict";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { tempHome } from "../support/home.ts";
import { type Issued, makeAuthority } from "../support/openssl.ts";

const anywhere = ["--coordinator.port=0", "--coordinator.health-port=0"];
const secured = "--peer.insecure=false";

function pair({ certFile, keyFile }: Issued): string[] {
  return [`--peer.cert-file=${certFile}`, `--peer.key-file=${keyFile}`];
}

const trusting = (caFile: string) => `--peer.client-ca-file=${caFile}`;

Deno.test("each way to fail at TLS has its own words, and a next step", async (t) => {
  await using home = await tempHome();
  const ca = await makeAuthority(home.path, "authority");
  const foreign = await makeAuthority(home.path, "foreign");
  const server = await ca.issue("server");
  const elsewhere = await ca.issue("elsewhere", { names: ["DNS:elsewhere.test"] });
  const expired = await ca.issue("expired", { days: -1 });
  const client = await ca.issue("client");
  const good = [secured, ...pair(client), trusting(ca.caFile)];
  const serve = (issued: Issued) =>
    agent.start("coordinator", [...anywhere, secured, ...pair(issued), trusting(ca.caFile)], {
      home,
    });
  const list = async (address: string, settings: string[]) => {
    const args = ["workers", "list", "--json", "--coordinators", address, ...settings];
    return await agent.run(args, { home });
  };
  const refused = async (address: string, settings: string[], says: RegExp) => {
    const { code, stdout, stderr } = await list(address, settings);
    assert.equal(code, 1, stderr);
    assert.equal(stdout, "");
    const { error } = JSON.parse(stderr.trim().split("\n").at(-1)!);
    assert.match(error.message, says);
    assert.ok(error.next.length > 0);
  };

  {
    await using coordinator = await serve(server);
    const { address } = coordinator;
    await t.step("all is well", async () => {
      const { code, stdout, stderr } = await list(address, good);
      assert.equal(code, 0, stderr);
      assert.deepEqual(JSON.parse(stdout), { workers: [] });
    });
    await t.step("plaintext to a TLS port", () => refused(address, [], /speaks TLS/));
    await t.step(
      "no client certificate",
      () => refused(address, [secured, trusting(ca.caFile)], /requires a client certificate/),
    );
    await t.step("a client certificate of another CA", async () => {
      const settings = [secured, ...pair(await foreign.issue("client")), trusting(ca.caFile)];
      await refused(address, settings, /refuses this side's certificate "CN=client"/);
    });
    await t.step(
      "an expired client certificate",
      () =>
        refused(
          address,
          [secured, ...pair(expired), trusting(ca.caFile)],
          /"CN=expired" expired on/,
        ),
    );
    await t.step("another CA trusted", () =>
      refused(
        address,
        [secured, ...pair(client), trusting(foreign.caFile)],
        /issued by "CN=Test CA", with another key/,
      ));
    await t.step("unverified by wish, with a warning", async () => {
      const settings = [secured, ...pair(client), "--peer.skip-tls-verify=true"];
      const { code, stderr } = await list(address, settings);
      assert.equal(code, 0, stderr);
      assert.match(stderr, /is not verified/);
    });
    assert.deepEqual(await coordinator.stop(), { code: 0, signal: null });
  }
  await t.step("TLS to a plaintext port", async () => {
    await using coordinator = await agent.start("coordinator", anywhere, { home });
    await refused(coordinator.address, good, /speaks plaintext/);
  });
  await t.step("another name", async () => {
    await using coordinator = await serve(elsewhere);
    await refused(coordinator.address, good, /covers elsewhere\.test, not "127\.0\.0\.1"/);
    const named = await list(coordinator.address, [...good, "--peer.server-name=elsewhere.test"]);
    assert.equal(named.code, 0, named.stderr);
  });
  await t.step("a CA that only the system trusts", async () => {
    const known = await makeAuthority(home.path, "known", "/CN=Known CA");
    await using coordinator = await serve(await known.issue("server"));
    const args = ["workers", "list", "--coordinators", coordinator.address, ...good];
    // As if it were one of the public CAs: the roots of the system are no roots here.
    const env = {
      SSL_CERT_FILE: known.caFile,
      DENO_CERT: known.caFile,
      DENO_TLS_CA_STORE: "system",
    };
    const { code, stderr } = await agent.run(args, { home, env });
    assert.equal(code, 1);
    assert.match(stderr, /issued by "CN=Known CA", and this side trusts "CN=Test CA"/);
  });
  await t.step("an expired coordinator starts degraded", async () => {
    await using coordinator = await serve(expired);
    await coordinator.said(/callers refuse this coordinator/);
    await refused(coordinator.address, good, /its certificate expired on \d{4}-/);
  });
});

Deno.test("a coordinator does not start with files that it cannot use", async (t) => {
  await using home = await tempHome();
  const ca = await makeAuthority(home.path, "authority");
  const [server, other] = [await ca.issue("server"), await ca.issue("other")];
  const empty = join(home.path, "empty.crt");
  await Deno.writeTextFile(empty, "");
  const cases: Record<string, string[]> = {
    "half a pair": pair(server).slice(0, 1),
    "a pair that does not match": pair({ ...server, keyFile: other.keyFile }),
    "a certificate that is missing": pair({ ...server, certFile: join(home.path, "none.crt") }),
    "an empty CA file": [...pair(server), trusting(empty)],
  };
  for (const [name, settings] of Object.entries(cases)) {
    await t.step(name, async () => {
      const args = ["coordinator", ...anywhere, secured, ...settings];
      const { code, stderr } = await agent.run(args, { home });
      assert.equal(code, 2, stderr);
      assert.match(stderr, /\n {2}next: /);
      assert.doesNotMatch(stderr, /ready role|\n\s+at /);
    });
  }
});
