import assert from "node:assert/strict";
import type { ServiceSpec } from "./supervisor.ts";
import { systemdUnit } from "./systemd_unit.ts";

const spec: ServiceSpec = {
  role: "coordinator",
  command: ["/usr/local/bin/agent", "coordinator"],
  user: false,
  writes: ["/var/lib/agent", "/etc/agent"],
  reads: [],
  variables: {},
};

const line = (unit: string, start: string) =>
  unit.split("\n").filter((each) => each.startsWith(start));

Deno.test("what systemd would expand is escaped: $ in command lines only, % everywhere", () => {
  const unit = systemdUnit({
    ...spec,
    command: ["/usr/local/bin/agent", "node", "--node.name=a $b 100%"],
    variables: { AGENT_NODE_NAME: "a $b 100%" },
  });
  assert.deepEqual(line(unit, "ExecStart="), [
    'ExecStart=/usr/local/bin/agent node "--node.name=a $$b 100%%"',
  ]);
  assert.deepEqual(line(unit, "Environment="), ['Environment="AGENT_NODE_NAME=a $b 100%%"']);
});

Deno.test("a value cannot add a line to the unit", () => {
  const unit = systemdUnit({ ...spec, variables: { AGENT_X: 'a"\nExecStartPre=/bin/evil\\' } });
  assert.deepEqual(line(unit, "ExecStartPre"), []);
  assert.deepEqual(line(unit, "Environment="), [
    'Environment="AGENT_X=a\\"\\nExecStartPre=/bin/evil\\\\"',
  ]);
});

Deno.test("a role may write to its folders, wherever they are", () => {
  const unit = systemdUnit({ ...spec, writes: ["/srv/my tasks"] });
  assert.deepEqual(line(unit, "ReadWritePaths="), ['ReadWritePaths="-/srv/my tasks"']);
});

Deno.test("homes are closed unless something that the role needs is in one", () => {
  const home = (change: Partial<ServiceSpec>) =>
    line(systemdUnit({ ...spec, ...change }), "ProtectHome=")[0];
  assert.equal(home({}), "ProtectHome=yes");
  assert.equal(home({ reads: ["/home/ada/server.crt"] }), "ProtectHome=read-only");
  assert.equal(home({ command: ["/root/agent", "coordinator"] }), "ProtectHome=read-only");
});
