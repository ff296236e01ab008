/** Keys and the token during `tls deploy`: strace shows how each file comes to be, on either side. */
import assert from "node:assert/strict";
import { agent } from "../support/agent.ts";
import { component, programs } from "../support/component.ts";
import { type Host, hostsCheck, startHosts } from "../support/hosts.ts";

const ready = await component(
  "several hosts on one machine, with strace",
  ...hostsCheck,
  programs("strace"),
);

const trace =
  "strace -f -qq -s 4096 -e trace=execve,open,openat,creat,mkdir,mkdirat,chmod,fchmodat " +
  "-o /root/trace";

/** The calls of all traced processes, with those that another one interrupted. */
async function calls(host: Host): Promise<string[]> {
  const text = await host.ok("cat /root/trace*");
  return text.split("\n").map((line) => line.replace(/^\d+ +/, ""));
}

/** Files that hold a secret; a temporary name of one begins with a dot and ends in something else. */
const isSecret = (path: string) => /\/\.?(server\.key|ca\.key|token)[^/]*$/.test(path);
const isPrivate = (mode: string | undefined) =>
  mode !== undefined && (parseInt(mode, 8) & 0o77) === 0;

/** Fails for a secret that others could read at any time; returns how many secrets were written. */
function checkModes(lines: string[], host: string): number {
  let written = 0;
  const folders = new Set<string>();
  for (const line of lines) {
    const [, folder, folderMode] = /^mkdir(?:at)?\((?:AT_FDCWD, )?"([^"]*)", (0\d*)/.exec(line) ??
      [];
    if (folder !== undefined && isPrivate(folderMode)) folders.add(folder);
    const [, path = "", mode] =
      /^(?:openat\(AT_FDCWD, |open\()"([^"]*)", [A-Z_|]*O_CREAT[A-Z_|]*, (0\d*)/.exec(line) ?? [];
    if (isSecret(path)) {
      written++;
      const parent = path.slice(0, path.lastIndexOf("/"));
      // The folder of `mktemp -d`, which no other user can enter.
      const isInside = /\/\.deploy\.[^/]*$/.test(parent) && folders.has(parent);
      assert.ok(isInside || isPrivate(mode), `${host}: ${line}`);
    }
    const [, changed = "", newMode] =
      /^(?:chmod\(|fchmodat\(AT_FDCWD, )"([^"]*)", (0\d*)/.exec(line) ??
        [];
    if (isSecret(changed)) assert.ok(isPrivate(newMode), `${host}: ${line}`);
  }
  return written;
}

Deno.test({
  name: "no key and no token is readable by others at any instant, or on a command line",
  ...ready,
  ignore: ready.ignore || !agent.compiled,
  async fn() {
    await using hosts = await startHosts(["a", "b", "c"]);
    const { a, b, c } = hosts;
    await a.ok(`umask 0; ${trace}.init agent tls init`);
    for (const peer of [b, c]) {
      const command = `umask 0; exec ${trace}.$$ sh -c \\\\"$SSH_ORIGINAL_COMMAND\\\\"`;
      await peer.ok(`sed -i 's|^|command="${command}" |' .ssh/authorized_keys`);
    }
    await c.ok("mv /usr/local/bin/agent /root/agent");
    const said = await a.ok(`umask 0; ${trace} agent tls deploy --batch b.lan c.lan`);
    assert.match(said, /^b\.lan +changed +certificate .*, token/m);
    assert.match(said, /^c\.lan +changed +certificate .*, token/m);
    const secrets = [
      (await a.ok("cat /etc/agent/token")).trim(),
      ...(await c.ok("sed -n 2,3p /etc/agent/tls/server.key")).trim().split("\n"),
    ];
    for (const host of hosts.list) {
      const lines = await calls(host);
      assert.ok(checkModes(lines, host.name) >= 2, `${host.name}: ${lines.length} calls`);
      const started = lines.filter((line) => line.startsWith("execve(")).join("\n");
      for (const secret of secrets) assert.ok(!started.includes(secret), host.name);
      assert.equal(
        await host.ok("stat -c %a /etc/agent/token /etc/agent/tls/server.key"),
        "600\n600\n",
      );
    }
    // The key of a peer without agent is made here and sent: it is never written here.
    const here = (await calls(a)).filter((line) => /O_CREAT/.test(line) && /key/.test(line));
    assert.ok(
      here.every((line) => /\/etc\/agent\/tls\/(ca\/)?\.?(ca|server)\.key/.test(line)),
      `${here}`,
    );
  },
});
