/** `tls deploy` over real sshd. */
import assert from "node:assert/strict";
import { agent } from "../support/agent.ts";
import { component } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";
import { type Host, hostsCheck, startHosts, threeHosts } from "../support/hosts.ts";

const ready = await component("several hosts on one machine", ...hostsCheck);

/** Nothing of an unfinished run is left. */
async function assertClean(host: Host): Promise<void> {
  const left = await host.ok(
    "ls -Ad /etc/agent/.deploy.* /etc/agent/deploy.lock /etc/agent/tls/*.next " +
      "/usr/local/bin/.agent* /etc/agent/tls/.*.new 2>/dev/null || true",
  );
  assert.equal(left, "", `on ${host.name}`);
}

async function removeAgent(host: Host): Promise<void> {
  await host.ok("rm /usr/local/bin/agent");
}

Deno.test({
  name: "peers get certificates, and a second run changes nothing",
  ...ready,
  async fn() {
    await using hosts = await threeHosts();
    await hosts.a.ok("agent tls init");
    const dry = await hosts.a.ok("agent tls deploy --dry-run b.lan c.lan");
    assert.match(dry, /^b\.lan +changed +would change: certificate \(no CA yet\), token/m);
    assert.equal(await hosts.b.ok("ls -A /etc/agent"), "");
    const first = await hosts.a.ok("agent tls deploy b.lan c.lan");
    assert.match(
      first,
      /^b\.lan +changed +certificate \(no CA yet\), token \(none there\), settings \(peer\.insecure=false\)$/m,
    );
    const token = await hosts.a.ok("cat /etc/agent/token");
    for (const host of [hosts.b, hosts.c]) {
      await host.ok("agent tls status --check");
      assert.equal(await host.ok("cat /etc/agent/token"), token);
      assert.equal(
        await host.ok("stat -c %a /etc/agent/token /etc/agent/tls/server.key"),
        "600\n600\n",
      );
      await assertClean(host);
    }
    const san = "openssl x509 -in /etc/agent/tls/server.crt -noout -ext subjectAltName";
    assert.match(await hosts.b.ok(san), /DNS:b\.lan.*IP Address:10\.77\.0\.2/);
    const before = await hosts.b.ok("sha256sum /etc/agent/tls/*.* /etc/agent/token");
    const second = await hosts.a.ok("agent tls deploy --json b.lan c.lan");
    const views = second.trim().split("\n").map((line) => JSON.parse(line));
    assert.deepEqual(views.map(({ state }) => state), ["unchanged", "unchanged"]);
    assert.equal(await hosts.b.ok("sha256sum /etc/agent/tls/*.* /etc/agent/token"), before);
    const forced = await hosts.a.ok("agent tls deploy --force b.lan");
    assert.match(forced, /^b\.lan +changed +certificate \(--force\)/m);
  },
});

Deno.test({
  name: "a peer without agent is provisioned by sh alone, and agent understands what it left",
  ...ready,
  async fn() {
    await using hosts = await threeHosts();
    await hosts.a.ok("agent tls init");
    await hosts.b.ok("mv /usr/local/bin/agent /root/agent-kept");
    const first = await hosts.a.ok("agent tls deploy b.lan");
    assert.match(first, /^b\.lan +changed +certificate/m);
    assert.equal(
      await hosts.b.ok(
        "stat -c '%a %n' /etc/agent/tls /etc/agent/tls/ca /etc/agent/tls/server.key",
      ),
      "700 /etc/agent/tls\n700 /etc/agent/tls/ca\n600 /etc/agent/tls/server.key\n",
    );
    await assertClean(hosts.b);
    assert.match(await hosts.a.ok("agent tls deploy b.lan"), /^b\.lan +unchanged/m);
    await hosts.b.ok("mv /root/agent-kept /usr/local/bin/agent");
    await hosts.b.ok("agent tls status --check");
  },
});

Deno.test({
  name: "peers that cannot be provisioned are named with the cause, and the others are done",
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "b", "c", "d", "e"]);
    await hosts.a.ok("agent tls init");
    await hosts.b.ok("agent tls init --ca-name Other");
    await hosts.c.ok("ip link set eth0 down");
    await hosts.a.ok(
      "sed -i '/^d,/s/ AAAA[^ ]*/ AAAAC3NzaC1lZDI1NTE5AAAAIIbY1JWxXhkzqKk7Zv9mJk1bYv1q1q1q1q1q1q1q1q1q/' .ssh/known_hosts",
    );
    const ran = await hosts.a.run("agent tls deploy --batch b.lan c.lan d.lan e.lan nobody.lan");
    assert.equal(ran.code, 1);
    const said = ran.stdout;
    assert.match(said, /^b\.lan +failed +it belongs to another CA \(SHA-256 .*, ours is/m);
    assert.match(said, /^c\.lan +unreachable +it does not answer/m);
    assert.match(said, /^d\.lan +unreachable +its host key has changed/m);
    assert.match(said, /^e\.lan +changed/m);
    assert.match(said, /^nobody\.lan +unreachable +the name "nobody.lan" is not known/m);
    assert.match(ran.stderr, /next for b\.lan: .*--force/);
    assert.match(await hosts.b.ok("agent tls status"), /Other/);
    const forced = await hosts.a.ok("agent tls deploy --force b.lan");
    assert.match(forced, /^b\.lan +changed +certificate \(another CA\)/m);
    await hosts.b.ok("agent tls status --check");
  },
});

Deno.test({
  name: "after a renewal of the CA peers get the new one, and keep trusting the previous one",
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "b"]);
    await hosts.a.ok("agent tls init");
    await hosts.a.ok("agent tls deploy b.lan");
    await hosts.a.ok("agent tls renew --ca --yes");
    const ran = await hosts.a.ok("agent tls deploy b.lan");
    assert.match(ran, /^b\.lan +changed +certificate \(the CA was renewed\)$/m);
    assert.match(await hosts.b.ok("ls /etc/agent/tls/trusted"), /^previous-[0-9a-f]+\.crt$/m);
    assert.equal(
      await hosts.b.ok("cat /etc/agent/tls/ca/ca.crt"),
      await hosts.a.ok("cat /etc/agent/tls/ca/ca.crt"),
    );
    assert.match(await hosts.a.ok("agent tls deploy b.lan"), /^b\.lan +unchanged/m);
    await assertClean(hosts.b);
  },
});

Deno.test({
  name: "a role that runs on the peer is dialled, and presents what was installed",
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "b"]);
    await hosts.a.ok("agent tls init");
    const deploy = "agent tls deploy --service coordinator b.lan -- " +
      "--coordinator.host=10.77.0.2 --coordinator.port=4433 --coordinator.health-port=0";
    const first = await hosts.a.ok(deploy);
    assert.match(first, /^b\.lan +changed .*service .*; agent coordinator presents it$/m);
    assert.match(await hosts.b.ok("cat /etc/agent/config.yaml"), /^peer:\n {2}insecure: false$/m);
    assert.match(await hosts.a.ok(deploy), /^b\.lan +unchanged/m);
    // The coordinator takes up the new certificate without a restart.
    const forced = await hosts.a.ok("agent tls deploy --force b.lan");
    assert.match(forced, /^b\.lan +changed .*; agent coordinator presents it$/m);
    const list = "agent workers list --coordinators b.lan:4433 --peer.insecure=false";
    await hosts.a.ok(list);
    await hosts.a.ok(
      "agent tls deploy --service worker b.lan -- --worker.coordinators=b.lan:4433",
    );
    await eventually(20_000, async () => /^b +healthy/m.test(await hosts.a.ok(list)));
    for (const role of ["worker", "coordinator"]) {
      await hosts.b.ok(`agent service uninstall ${role}`);
    }
  },
});

Deno.test({
  name: "a host with nothing but sshd gets the executable, checked and replaced as a whole",
  ...ready,
  ignore: ready.ignore || !agent.compiled,
  async fn() {
    await using hosts = await startHosts(["a", "b"]);
    await hosts.a.ok("agent tls init");
    await removeAgent(hosts.b);
    const own = agent.command().command;
    const first = await hosts.a.ok(`${own} tls deploy --push-binary b.lan`);
    assert.match(first, /^b\.lan +changed +executable \(none there\), certificate/m);
    await hosts.b.ok("agent tls status --check");
    await assertClean(hosts.b);
    const sums = await hosts.b.ok(`sha256sum <${own}; sha256sum </usr/local/bin/agent`);
    const [pushed, there] = sums.trim().split("\n");
    assert.equal(pushed, there);
    assert.match(await hosts.a.ok(`${own} tls deploy --push-binary b.lan`), /unchanged/);
    await hosts.b.ok("echo broken >/usr/local/bin/agent");
    assert.match(await hosts.a.ok(`${own} tls deploy --push-binary b.lan`), /executable/);
    await hosts.b.ok("agent version");
    assert.equal(await hosts.b.ok("cat /usr/local/bin/agent.previous"), "broken\n");
  },
});

Deno.test({
  name: "two commands turn three hosts with nothing but sshd into a mesh that sees itself",
  ...ready,
  ignore: ready.ignore || !agent.compiled,
  async fn() {
    await using hosts = await threeHosts();
    const own = agent.command().command;
    for (const host of [hosts.b, hosts.c]) await removeAgent(host);
    await hosts.a.ok(`${own} tls init`);
    await hosts.a.ok(`${own} tls deploy --push-binary --service node b.lan c.lan -- --cluster lab`);
    await eventually(20_000, async () => {
      const { nodes } = JSON.parse(await hosts.a.ok(`${own} cluster nodes --json`));
      const reachable = nodes.filter((node: { reachable: boolean }) => node.reachable);
      return reachable.length === 3;
    });
    const again = await hosts.a.ok(
      `${own} tls deploy --push-binary --service node b.lan c.lan -- --cluster lab`,
    );
    assert.equal(again.match(/unchanged/g)?.length, 3, again);
    // Without names the members of the cluster are the peers.
    const walked = await hosts.a.ok(`${own} tls deploy --force`);
    assert.match(walked, /^10\.77\.0\.2 +changed .*; agent node presents it$/m);
    assert.match(walked, /^10\.77\.0\.3 +changed .*; agent node presents it$/m);
    for (const host of hosts.list) await host.ok("agent service uninstall node");
  },
});
