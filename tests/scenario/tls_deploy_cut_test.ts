/**
 * Peers that die, or whose connection breaks, while `tls deploy` runs its scripts on them: the next run
 * completes, and nothing is left of the first. Here over real sshd, at steps that are spread over all
 * of a script; src/deploy/cut_test.ts ends every script at every step.
 *
 * A step is one program that a script starts. On the peers each of these programs is replaced by one
 * that counts, and at its turn ends the session.
 */
import assert from "node:assert/strict";
import { component } from "../support/component.ts";
import { agent } from "../support/agent.ts";
import { type Host, hostsCheck, startHosts } from "../support/hosts.ts";
import { step } from "../support/step.ts";

const ready = await component("several hosts on one machine", ...hostsCheck);

const programs =
  "chmod chown dd id ln mkdir mktemp mv openssl readlink rm sed sha256sum stat wc cat";

/** Counts from the first `mkdir` on, with which the scripts that change something begin. */
const counting = `#!/bin/sh
PATH=/usr/local/bin:/usr/bin:/bin name=\${0##*/}
if [ -e /steps/began ] || [ "$name" = mkdir ]; then
  : >/steps/began
  read -r n </steps/count
  n=$((n + 1))
  echo $n >/steps/count
  if [ "$n" = "$(cat /steps/at)" ]; then
    echo "$name $*" >/steps/cut
    # The shell that sshd started leads a group of its own; its parent holds the connection.
    read -r _ _ _ _ group _ </proc/$$/stat
    read -r _ _ _ sshd _ </proc/$group/stat
    if [ "$(cat /steps/how)" = cut ]; then kill -9 "$sshd"; else kill -9 0; fi
  fi
fi
[ "$name" = agent-step ] || exec "$name" "$@"
`;

async function countSteps(peer: Host): Promise<void> {
  await peer.ok("mkdir /steps && cat >/steps/step && chmod +x /steps/step", counting);
  await peer.ok(
    `for name in ${programs} agent-step; do ln -s step /steps/$name; done
     sed -i 's|^|command="PATH=/steps:$PATH exec sh -c \\\\"$SSH_ORIGINAL_COMMAND\\\\"" |' .ssh/authorized_keys
     sed -i 's|^exec|[ ! -e /steps/began ] \\|\\| /steps/agent-step "$@"; exec|' /usr/local/bin/agent
     cp /usr/local/bin/agent /root/agent`,
  );
}

interface Series {
  name: string;
  /** The state of a peer before each run. */
  prepare: string;
  deploy: string;
  /** What holds when the second run is over, as a shell command. */
  holds: string;
  /** The second run ends so. */
  code: number;
}

const clean =
  "rm -rf /etc/agent/tls /etc/agent/token /etc/agent/config.yaml; cp /root/agent /usr/local/bin/agent";

const series: Series[] = [
  {
    name: "with agent there: request, certificate, token, settings",
    prepare: clean,
    deploy: "agent tls deploy --batch",
    holds: "agent tls status --check && grep -q 'insecure: false' /etc/agent/config.yaml",
    code: 0,
  },
  {
    name: "without agent: all files",
    prepare: `${clean}; rm /usr/local/bin/agent`,
    deploy: "agent tls deploy --batch",
    holds: "/root/agent tls status --check",
    code: 0,
  },
  {
    // Any small program stands in for the executable; it makes no request for a certificate.
    name: "the executable",
    prepare: clean,
    deploy: "agent tls deploy --batch --binary /bin/true",
    holds: "cmp /bin/true /usr/local/bin/agent && cmp /root/agent /usr/local/bin/agent.previous",
    code: 1,
  },
];

/** Nothing of an unfinished run. */
const nothingLeft = `ls -Ad /etc/agent/.deploy.* /etc/agent/deploy.lock* /etc/agent/tls/*.next \\
  /etc/agent/tls/.*.new /usr/local/bin/.agent* 2>/dev/null | grep . && exit 1
  find /etc/agent /tmp /root -name '*.key*' | grep -vx /etc/agent/tls/server.key && exit 1`;

Deno.test({
  name: "a peer that dies or is cut off on the way is completed by the next run, with nothing left",
  ...ready,
  ignore: ready.ignore || !agent.compiled,
  async fn(t) {
    await using hosts = await startHosts(["a", "b", "c", "d", "e"]);
    const { a } = hosts;
    const peers = hosts.list.filter((host) => host !== a);
    await a.ok("agent tls init");
    await Promise.all(peers.map(countSteps));
    for (const each of series) {
      await step(t, each.name, async () => {
        const steps = await cutOnTheWay(a, peers, each);
        assert.ok(steps > 8, `only ${steps} steps`);
      });
    }
  },
});

/** Ends each peer at another step, from the first one on; returns how many steps there are. */
async function cutOnTheWay(a: Host, peers: Host[], each: Series): Promise<number> {
  const { prepare, deploy, holds, code } = each;
  const start = (peer: Host, at: number, how: "die" | "cut") =>
    peer.ok(
      `${prepare}; cd /steps; rm -f began cut; echo 0 >count; echo ${at} >at
       echo ${how} >how`,
    );
  await start(peers[0]!, 0, "die");
  assert.equal((await a.run(`${deploy} ${peers[0]!.name}.lan`)).code, code);
  const total = Number(await peers[0]!.ok("cat /steps/count"));
  const steps = peers.map((_, at) => 1 + Math.floor(at * (total - 1) / peers.length));
  await Promise.all(peers.map((peer, at) => start(peer, steps[at]!, at % 2 === 0 ? "die" : "cut")));
  const names = peers.map(({ name }) => `${name}.lan`).join(" ");
  await a.run(`${deploy} ${names}`);
  await Promise.all(peers.map((peer) => peer.ok("echo 0 >/steps/at")));
  const ran = await a.run(`${deploy} ${names}`);
  await Promise.all(peers.map(async (peer, at) => {
    const where = `step ${steps[at]} of ${total}: ${await peer.ok("cat /steps/cut")}`;
    const left = await peer.run(`{ ${holds}; } && { ${nothingLeft}; true; }`);
    assert.equal(left.code, 0, `${where}${left.stdout}${left.stderr}${ran.stdout}`);
  }));
  assert.equal(ran.code, code, ran.stdout + ran.stderr);
  return total;
}
