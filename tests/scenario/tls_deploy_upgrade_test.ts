/** Upgrades with `tls deploy --push-binary`, over real sshd, from an executable of another version. */
import assert from "node:assert/strict";
import { version } from "../../src/base/version.ts";
import { agent } from "../support/agent.ts";
import { component } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";
import { step } from "../support/step.ts";
import { type Host, hostsCheck, startHosts } from "../support/hosts.ts";

const ready = await component("several hosts on one machine", ...hostsCheck);

/** Versions of the same length: the executable is changed in place. */
const former = version.replaceAll(/\d/g, "0");
const next = version.replaceAll(/\d/g, "9");

/** Writes the executable under test with another version. */
async function writeVersion(host: Host, other: string, path: string): Promise<void> {
  const { command } = agent.command();
  const change = `s/version:"${version.replaceAll(".", "\\.")}"/version:"${other}"/`;
  await host.ok(`LC_ALL=C sed '${change}' ${command} >${path} && chmod 755 ${path}`);
  assert.match(await host.ok(`${path} version`), new RegExp(`^agent ${other} `));
}

Deno.test({
  name: "hosts are upgraded one by one: running tasks end first, and a failure stops it",
  ...ready,
  ignore: ready.ignore || !agent.compiled,
  async fn(t) {
    await using hosts = await startHosts(["a", "b", "c", "d"]);
    const { a, b, c, d } = hosts;
    const peers = [b, c, d];
    const own = agent.command().command;
    const workers = async () => {
      const listed = JSON.parse(await a.ok("agent workers list --coordinators b.lan --json"));
      return (listed.workers as { id: string; version: string; health: string }[])
        .map(({ id, version, health }) => `${id} ${version} ${health}`).sort();
    };
    await Promise.all(peers.map((peer) => writeVersion(peer, former, "/usr/local/bin/agent")));
    await a.ok("agent tls init && agent config set peer.insecure false");
    await a.ok(`${own} tls deploy --service coordinator b.lan`);
    await a.ok(
      `${own} tls deploy --service worker c.lan d.lan -- --worker.coordinators=b.lan:50055`,
    );
    await eventually(20_000, async () => {
      assert.deepEqual(await workers(), [`c ${former} healthy`, `d ${former} healthy`]);
      return true;
    });

    await step(t, "a worker is restarted when its task has ended", async () => {
      const id = (await a.ok(
        "agent submit --coordinators b.lan --worker c -- " +
          "sh -c 'until [ -e /tmp/go ]; do sleep 0.1; done; echo done'",
      )).trim();
      const show = async () =>
        JSON.parse(await a.ok(`agent task show --coordinators b.lan --json ${id}`));
      await eventually(20_000, async () => (await show()).state === "running");
      const deploy = `${own} tls deploy --push-binary --rolling b.lan c.lan d.lan`;
      const upgrade = a.ok(deploy);
      const log = "/var/lib/agent/service/worker.log";
      await eventually(60_000, () => c.ok(`grep 'taking no more tasks' ${log}`));
      assert.equal((await show()).state, "running");
      assert.match(await d.ok("agent version"), new RegExp(`^agent ${former} `));
      await c.ok("touch /tmp/go");
      const said = await upgrade;
      const changed = (role: string) =>
        `changed +executable \\(${former} there, this is ${version}\\), ` +
        `restart \\(agent ${role} runs the former executable\\)\n`;
      assert.match(
        said,
        new RegExp(
          `^b\\.lan +${changed("coordinator")}c\\.lan +${changed("worker")}d\\.lan +${
            changed("worker")
          }$`,
        ),
      );
      const { state, attempts } = await show();
      assert.deepEqual([state, attempts.length], ["succeeded", 1]);
      await eventually(20_000, async () => {
        assert.deepEqual(await workers(), [`c ${version} healthy`, `d ${version} healthy`]);
        return true;
      });
      assert.equal((await a.ok(deploy)).match(/unchanged/g)?.length, 3);
    });

    await step(t, "the first failure stops it, and the printed command goes back", async () => {
      await writeVersion(a, next, "/root/agent-next");
      await c.ok("printf 'worker:\\n  slots: many\\n' >>/etc/agent/config.yaml");
      const ran = await a.run("/root/agent-next tls deploy --push-binary --rolling c.lan d.lan");
      assert.equal(ran.code, 1, ran.stdout + ran.stderr);
      assert.match(ran.stdout, /^c\.lan +failed +could not restart agent worker: /m);
      assert.match(ran.stdout, /^d\.lan +skipped +because c\.lan failed before it$/m);
      assert.match(await d.ok("agent version"), new RegExp(`^agent ${version} `));
      await c.ok("sed -i '/^worker:/,$d' /etc/agent/config.yaml");
      const [, back] = /back to the former executable: (.*)$/m.exec(ran.stderr) ?? [];
      await a.ok(back!);
      await eventually(20_000, async () => {
        assert.deepEqual(await workers(), [`c ${version} healthy`, `d ${version} healthy`]);
        return true;
      });
    });

    await step(t, "a role that was not restarted yet is restarted by the next run", async () => {
      await d.ok("mv /usr/local/bin/agent /root/running");
      await d.ok("cp /root/running /usr/local/bin/agent.new");
      await d.ok("mv /usr/local/bin/agent.new /usr/local/bin/agent && rm /root/running");
      const said = await a.ok(`${own} tls deploy --push-binary --drain 0 d.lan`);
      assert.match(
        said,
        /^d\.lan +changed +restart \(agent worker runs the former executable\)\n$/,
      );
    });

    await step(t, "other flags replace the service", async () => {
      const flags = "--worker.coordinators=b.lan:50055 --worker.slots=";
      const deploy = (slots: number) =>
        a.ok(`${own} tls deploy --service worker --drain 0 d.lan -- ${flags}${slots}`);
      assert.match(await deploy(7), /changed +service \(agent worker runs with other flags\)/);
      assert.match(await deploy(7), /unchanged/);
      assert.match(await d.ok("cat /var/lib/agent/service/worker.json"), /slots=7/);
    });
    for (const peer of [c, d]) await peer.ok("agent service uninstall worker");
    await b.ok("agent service uninstall coordinator");
  },
});

Deno.test({
  name: "a newer version is replaced by an older one only where that is meant",
  ...ready,
  ignore: ready.ignore || !agent.compiled,
  async fn() {
    await using hosts = await startHosts(["a", "b"]);
    const { a, b } = hosts;
    await a.ok("agent tls init");
    await writeVersion(b, next, "/usr/local/bin/agent");
    const deploy = `${agent.command().command} tls deploy --push-binary`;
    // A copy is another file to it, whose version is read from its bytes.
    const copy = `--binary /root/copy`;
    await a.ok(`cp ${agent.command().command} /root/copy`);
    for (const command of [deploy, `agent tls deploy ${copy}`]) {
      const refused = await a.run(`${command} b.lan`);
      assert.equal(refused.code, 1, refused.stdout + refused.stderr);
      const expected = `it has agent ${next}, which is newer than the one to copy, ${version}`;
      assert.ok(refused.stdout.includes(expected), refused.stdout);
      assert.match(refused.stdout + refused.stderr, /run the same command with --allow-downgrade/);
    }
    assert.match(await b.ok("agent version"), new RegExp(`^agent ${next} `));
    assert.match(
      await a.ok(`${deploy} --allow-downgrade b.lan`),
      new RegExp(`changed +executable \\(${next} there, this is ${version}\\)`),
    );
    assert.match(await b.ok("agent version"), new RegExp(`^agent ${version} `));
  },
});
