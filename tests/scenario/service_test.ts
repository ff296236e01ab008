/** Roles as services: with systemd's tools as far as they work without a running systemd. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { agent } from "../support/agent.ts";
import { component, programs } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";
import { hostsCheck, startHosts } from "../support/hosts.ts";
import { temporaryFolder } from "../support/temporary.ts";
import { tempHome } from "../support/home.ts";

const anywhere = ["--coordinator.port=0", "--coordinator.health-port=0"];

Deno.test("without a service manager a role is started directly, and can be stopped", async () => {
  await using home = await tempHome();
  const service = (verb: string, ...args: string[]) =>
    agent.run(["service", verb, "coordinator", ...args], { home });
  const before = await service("status");
  assert.equal(before.code, 3);
  assert.match(before.stdout, /not installed/);
  const installed = await service("install", "--json", ...anywhere);
  try {
    assert.equal(installed.code, 0, installed.stderr);
    const state = JSON.parse(installed.stdout);
    assert.deepEqual([state.running, state.manager], [true, "none"]);
    assert.equal((await service("status")).code, 0);
    assert.match((await service("logs")).stdout, /"msg":"ready"/);
    const restarted = JSON.parse((await service("restart", "--json")).stdout);
    assert.notEqual(restarted.pid, state.pid);
    assert.equal(restarted.running, true);
  } finally {
    const gone = await service("uninstall");
    assert.equal(gone.code, 0, gone.stderr);
  }
  assert.equal((await service("status")).code, 3);
  assert.equal((await service("uninstall")).code, 1);
});

Deno.test("a role that does not start is reported with its log", async () => {
  await using home = await tempHome();
  const flags = ["--coordinator.data-dir=/usr", ...anywhere];
  const ran = await agent.run(["service", "install", "coordinator", ...flags], { home });
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /does not start; its log:.*"\/usr"/s);
  await agent.run(["service", "uninstall", "coordinator"], { home });
});

Deno.test("a flag of another role is refused", async () => {
  const ran = await agent.run(["service", "install", "coordinator", "--worker.slots=2"]);
  assert.equal(ran.code, 2);
  assert.match(ran.stderr, /--worker\.slots is not a flag of agent coordinator/);
});

Deno.test({
  name: "systemd accepts the units, and finds little exposed",
  ...await component("systemd-analyze", programs("systemd-analyze")),
  async fn() {
    await using folder = await temporaryFolder();
    const most = { coordinator: 2.5, node: 2.5, worker: 9 };
    for (const [role, exposure] of Object.entries(most)) {
      const printed = await agent.run(["service", "install", role, "--print", "systemd"]);
      assert.equal(printed.code, 0, printed.stderr);
      const unit = join(folder.path, `agent-${role}.service`);
      await Deno.writeTextFile(unit, printed.stdout);
      assert.equal(await analyze("verify", unit), "", role);
      const security = await analyze("security", "--offline=true", unit);
      const [, found] = /exposure level for .*: ([\d.]+)/.exec(security) ?? [];
      assert.ok(Number(found) <= exposure, `${role}: ${found}`);
    }
  },
});

async function analyze(...args: string[]): Promise<string> {
  const ran = await new Deno.Command("systemd-analyze", { args, env: { SYSTEMD_PAGER: "" } })
    .output();
  return new TextDecoder().decode(ran.stdout) + new TextDecoder().decode(ran.stderr);
}

/**
 * Stands in for systemd on a host where it cannot run: `systemctl` starts and stops what the unit
 * says, as far as `agent service` asks for it, and `journalctl` shows what it wrote.
 */
const systemctl = `#!/bin/sh
dir=/run/fake-systemd; mkdir -p $dir
case $1 in
  daemon-reload) exit ;;
  enable | disable)
    verb=$1; for unit; do :; done
    [ $verb = enable ] && touch $dir/enabled && exit
    rm -f $dir/enabled; kill $(cat $dir/pid) 2>/dev/null; rm -f $dir/pid ;;
  restart)
    file=/etc/systemd/system/$2
    [ -e $dir/pid ] && kill $(cat $dir/pid) && sleep 1
    eval "set -- $(sed -n 's/^ExecStart=//p' $file)"
    setsid env -i PATH="$PATH" HOME=/root DENO_DIR="$DENO_DIR" "$@" >>$dir/log 2>&1 </dev/null &
    echo $! >$dir/pid ;;
  kill)
    pid=$(cat $dir/pid); kill -USR2 $pid
    { while kill -0 $pid; do sleep 0.1; done; rm $dir/pid; $0 restart $4; } >/dev/null 2>&1 & ;;
  show)
    for unit; do :; done
    if [ ! -e /etc/systemd/system/$unit ]; then echo LoadState=not-found; echo ActiveState=inactive
    else
      echo LoadState=loaded
      if kill -0 $(cat $dir/pid) 2>/dev/null; then echo ActiveState=active; echo SubState=running
      else echo ActiveState=failed; echo SubState=failed; fi
      echo MainPID=$(cat $dir/pid); echo InvocationID=1; echo NRestarts=0
    fi ;;
esac`;
const journalctl = `#!/bin/sh
cat /run/fake-systemd/log`;

Deno.test({
  name: "with systemd a unit is written, enabled and started, and removed again",
  ...await component("several hosts on one machine", ...hostsCheck),
  async fn() {
    await using hosts = await startHosts(["a"]);
    const { a } = hosts;
    await a.ok("mkdir -p /run/systemd/system /etc/systemd/system");
    await a.ok("cat >/usr/local/bin/systemctl && chmod +x /usr/local/bin/systemctl", systemctl);
    await a.ok("cat >/usr/local/bin/journalctl && chmod +x /usr/local/bin/journalctl", journalctl);
    const installed = await a.ok(`agent service install coordinator ${anywhere.join(" ")}`);
    assert.match(installed, /agent coordinator: active \(running\)/);
    assert.match(
      await a.ok("cat /etc/systemd/system/agent-coordinator.service"),
      /^ExecStart=.* coordinator --coordinator\.port=0 --coordinator\.health-port=0$/m,
    );
    assert.match(await a.ok("agent service logs coordinator"), /ready/);
    await a.ok("agent service restart coordinator");
    await a.ok("agent service uninstall coordinator");
    const pidOf = async (verb: string) =>
      JSON.parse(await a.ok(`agent service ${verb} worker --json`)).pid;
    const before = await pidOf("install");
    // Before it has started to work there is nothing to drain.
    await eventually(
      20_000,
      async () => (await a.ok("agent service logs worker")).includes("cannot connect"),
    );
    assert.notEqual(await pidOf("restart --drain 30s"), before);
    assert.match(await a.ok("agent service logs worker"), /taking no more tasks/);
    await a.ok("agent service uninstall worker");
    assert.equal(await a.ok("ls /etc/systemd/system | grep agent || true"), "");
  },
});
