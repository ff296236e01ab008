/** What goes wrong between nodes: stopped, cloned, moved, cut off. */
import assert from "node:assert/strict";
import { component, programs } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";
import { hostsCheck, startHosts } from "../support/hosts.ts";
import { certify, seen, sees, startNode, states } from "../support/mesh_hosts.ts";

const ready = await component("several hosts on one machine", ...hostsCheck);
const all = "a:reachable b:reachable c:reachable";

Deno.test({
  name: "a node that was stopped is red on the others, and blames nobody when it wakes",
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "b", "c"]);
    const { a, b, c } = hosts;
    await certify(a, [b, c]);
    await using _a = await startNode(a);
    await using _b = await startNode(b);
    await using nodeC = await startNode(c);
    await Promise.all(hosts.list.map((host) => sees(host, all)));
    nodeC.kill("SIGSTOP");
    await Promise.all(
      [a, b].map((host) => sees(host, "a:reachable b:reachable c:unreachable", 25_000)),
    );
    nodeC.kill("SIGCONT");
    const woken = await seen(c);
    assert.equal(states(woken), all);
    assert.equal(woken.cut_off, false);
    await Promise.all(hosts.list.map((host) => sees(host, all)));
  },
});

Deno.test({
  name: "a restart without multicast finds the others from disk, also at a new address",
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "b", "c"]);
    const { a, b, c } = hosts;
    await certify(a, [b, c]);
    const nodeA = await startNode(a);
    await using _b = await startNode(b);
    await using _c = await startNode(c);
    await Promise.all(hosts.list.map((host) => sees(host, all)));
    await nodeA.stop();
    await Promise.all(
      [b, c].map((host) => sees(host, "a:unreachable b:reachable c:reachable", 25_000)),
    );
    // Another lease of DHCP while it was away.
    await a.ok("ip addr del 10.77.0.1/24 dev eth0; ip addr add 10.77.0.77/24 dev eth0");
    await using _again = await startNode(a, "--no-node.mdns");
    await Promise.all(hosts.list.map((host) => sees(host, all)));
    await eventually(15_000, async () => {
      const node = (await seen(b)).nodes.find(({ name }) => name === "a");
      return node!.addresses.includes("10.77.0.77:8765");
    });

    // And another one while it runs.
    await a.ok("ip addr del 10.77.0.77/24 dev eth0; ip addr add 10.77.0.78/24 dev eth0");
    await eventually(30_000, async () => {
      const node = (await seen(b)).nodes.find(({ name }) => name === "a");
      return node!.addresses[0] === "10.77.0.78:8765" && node!.state === "reachable";
    });
  },
});

Deno.test({
  name: "a cloned node is a conflict, a shared certificate is said to be one",
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "b", "c"]);
    const { a, b, c } = hosts;
    await certify(a, [b]);
    // c is b's disk, copied.
    await using _a = await startNode(a);
    const nodeB = await startNode(b);
    await sees(a, "a:reachable b:reachable");
    await b.ok(
      "ssh c.lan 'mkdir -m 700 -p /etc/agent' && scp -pqr /etc/agent/tls /etc/agent/node-id c.lan:/etc/agent/",
    );
    const nodeC = await startNode(c);
    const id = (await b.ok("cat /etc/agent/node-id")).trim();
    await eventually(30_000, async () => {
      const view = await seen(a);
      const clone = view.nodes.find((node) => node.id === id);
      assert.equal(clone?.state, "conflict", JSON.stringify(view));
      assert.notEqual(view.master_node_id, id);
      return true;
    });
    // Told which one it is, the clone makes an id of its own.
    await nodeC.stop();
    await c.ok("rm /etc/agent/node-id; rm -rf /var/lib/agent/node");
    await using _c = await startNode(c);
    const view = await eventually(90_000, async () => {
      const now = await seen(a);
      assert.equal(states(now), all);
      return now;
    });
    const shared = view.nodes.filter(({ shared_identity: isShared }) => isShared);
    assert.deepEqual(shared.map(({ name }) => name).sort(), ["b", "c"]);
    await nodeB[Symbol.asyncDispose]();
  },
});

Deno.test({
  name: "an interface that goes down and up is found again within 5 s",
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "b", "c"]);
    const { a, b, c } = hosts;
    await certify(a, [b, c]);
    await using _a = await startNode(a);
    await using _b = await startNode(b);
    await Promise.all([a, b].map((host) => sees(host, "a:reachable b:reachable")));
    await a.ok("ip link set eth0 down; ip link set lo down; sleep 1; ip link set lo up");
    await a.ok("ip link set eth0 up; ip route add 224.0.0.0/4 dev eth0 || true");
    // A node that nobody knows yet can only be found by multicast.
    await using _c = await startNode(c);
    await sees(a, all, 15_000);
    await Promise.all(hosts.list.map((host) => sees(host, all)));
  },
});

Deno.test({
  name: "without TLS: members by a common token, or by none with --no-auth",
  ...ready,
  async fn() {
    await using hosts = await startHosts(["a", "b", "c"]);
    const { a, b, c } = hosts;
    const plain = "--no-tls --insecure";
    await a.ok("agent token rotate && scp -q /etc/agent/token b.lan:/etc/agent/");
    await a.ok("scp -q /etc/agent/token c.lan:/etc/agent/");
    {
      await using _a = await startNode(a, plain);
      await using _b = await startNode(b, `${plain} --peer a.lan`);
      await using _c = await startNode(c, `${plain} --peer a.lan`);
      await Promise.all(hosts.list.map((host) => sees(host, all)));
    }
    await b.ok("agent token rotate");
    await using _a = await startNode(a, `${plain} --no-auth`);
    await using _b = await startNode(b, `${plain} --no-auth`);
    await using _c = await startNode(c, `${plain} --no-auth`);
    await Promise.all(hosts.list.map((host) => sees(host, all)));
  },
});

/** Sends malformed multicast packets: a valid answer with bytes changed, by a fixed seed. */
const fuzz = String.raw`
import random, socket
random.seed(20251)
name = lambda text: b"".join(bytes([len(p)]) + p.encode() for p in text.split(".")) + b"\0"
ptr = name("_agent._tcp.local") + b"\0\x0c\0\x01\0\0\0\x78"
inner = name("x._agent._tcp.local")
good = b"\0\0\x84\0\0\0\0\x02\0\0\0\0" + ptr + len(inner).to_bytes(2, "big") + inner
txt = b"\x0bcluster=lab\x04id=x\x05tls=1\x02v=" + bytes(range(32))
good += inner + b"\0\x10\0\x01\0\0\0\x78" + len(txt).to_bytes(2, "big") + txt
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(10000):
    packet = bytearray(good)
    for _ in range(random.randrange(1, 8)):
        packet[random.randrange(len(packet))] = random.randrange(256)
    if n % 5 == 0: packet = packet[: random.randrange(len(packet))]
    if n % 11 == 0: packet = bytearray(random.randbytes(random.randrange(1400)))
    s.sendto(bytes(packet), ("224.0.0.251", 5353))
`;

Deno.test({
  name: "10,000 malformed multicast packets change nothing",
  ...await component("hosts and Python", ...hostsCheck, programs("python3")),
  async fn() {
    await using hosts = await startHosts(["a", "b"]);
    const { a, b } = hosts;
    await certify(a, [b]);
    await using nodeA = await startNode(a);
    await b.ok("python3 -", fuzz);
    assert.equal(states(await seen(a)), "a:reachable");
    const rss = async () =>
      Number(/VmRSS:\s+(\d+)/.exec(await Deno.readTextFile(`/proc/${nodeA.pid}/status`))![1]);
    assert.ok(await rss() < 400_000, `${await rss()} KiB`);
    // Discovery still works.
    await using _b = await startNode(b);
    await sees(a, "a:reachable b:reachable");
  },
});
