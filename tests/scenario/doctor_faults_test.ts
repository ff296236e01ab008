/**
 * Faults that really exist, found by `agent doctor`: one run for many where they do not disturb each
 * other. What no test can make (no /proc, cgroup v1) is in src/doctor/rules_test.ts alone.
 */
import assert from "node:assert/strict";
import { createServer, type ServerResponse } from "node:http";
import { join } from "node:path";
import { importCa } from "../../src/pki/operations/import.ts";
import { initTls } from "../../src/pki/operations/init.ts";
import { mint } from "../../src/pki/operations/mint.ts";
import { renewCa, renewServer } from "../../src/pki/operations/renew.ts";
import { disable } from "../../src/pki/operations/switch.ts";
import { agent, type RunOptions } from "../support/agent.ts";
import { asRoot, component, networkNamespaces, programs } from "../support/component.ts";
import { freePort } from "../support/eventually.ts";
import { type Home, tempHome } from "../support/home.ts";
import { dayMs, tlsLab } from "../support/tls.ts";

const secure = "--peer.insecure=false";
const off = (role: string) => [`--${role}.port=0`, `--${role}.health-port=0`];

/** The codes that it finds, and the addresses that it names, as `code` and `code address`. */
async function found(home: Home, args: string[], options: RunOptions = {}): Promise<string[]> {
  const ports = [`--coordinator.port=${freePort()}`, `--node.port=${freePort()}`];
  const own = args.some((arg) => arg.startsWith("--node.mdns")) ? [] : ["--node.mdns=false"];
  const ran = await agent.run(["doctor", "--json", ...ports, ...own, ...args], {
    home,
    ...options,
  });
  assert.ok(ran.code === 0 || ran.code === 3, ran.stderr);
  const { findings } = JSON.parse(ran.stdout) as {
    findings: { code: string; what: string; next: string }[];
  };
  for (const { next } of findings) assert.ok(next.length > 0);
  return findings.flatMap(({ code, what }) => {
    const [address] = /[\w.]+:\d+/.exec(what) ?? [];
    return address === undefined ? [code] : [code, `${code} ${address}`];
  });
}

function includesAll(codes: string[], wanted: string[]): void {
  assert.deepEqual(
    wanted.filter((code) => !codes.includes(code)),
    [],
    `found: ${codes.join(", ")}`,
  );
}

Deno.test("each fault of a coordinator or node is named, with its address", async () => {
  await using home = await tempHome();
  await using other = await tempHome();
  await using lab = await tlsLab();
  const ca = (days: number) => ({
    ...lab.host("hub"),
    root: home.tls,
    now: () => Date.now() + days * dayMs,
  });
  await initTls(ca(-1000));
  await Promise.all([
    mint(ca(-900), { out: lab.at("expired") }),
    mint(ca(60), { out: lab.at("early") }),
  ]);
  await renewServer(ca(0), {});
  await initTls({ ...lab.host("other"), root: other.tls });

  await using open = new AsyncDisposableStack();
  let folders = 0;
  const start = async (role: string, args: string[], from: Home) => {
    const own = [...off(role), `--${role}.data-dir=${lab.at(`data-${++folders}`)}`];
    return open.use(await agent.start(role, [...own, ...args], { home: from }));
  };
  const coordinator = (args: string[], from = home) => start("coordinator", args, from);
  const with_ = (name: string) => [
    secure,
    `--peer.cert-file=${lab.at(name, "server.crt")}`,
    `--peer.key-file=${lab.at(name, "server.key")}`,
  ];
  const node = (args: string[], from: Home) => start("node", ["--node.mdns=false", ...args], from);
  const [expired, early, plain, sound, foreign, plainNode, foreignNode] = await Promise.all([
    coordinator(with_("expired")),
    coordinator(with_("early")),
    coordinator(["--peer.insecure=true"]),
    coordinator([secure, "--coordinator.host=0.0.0.0"]),
    coordinator([secure], other),
    node(["--no-tls"], home),
    node([], other),
  ]);
  const silent = open.adopt(Deno.listen({ port: 0 }), (listener) => listener.close());
  const rude = open.adopt(Deno.listen({ port: 0 }), (listener) => listener.close());
  void (async () => {
    for await (const connection of rude) connection.close();
  })().catch(() => {});
  const at = ({ addr }: Deno.Listener) => `127.0.0.1:${(addr as Deno.NetAddr).port}`;
  const byOtherName = sound.address.replace(/^.*:/, "127.0.0.2:");
  const faults = {
    [expired.address]: "server_expired",
    [early.address]: "server_not_yet_valid",
    [plain.address]: "tls_to_plaintext",
    [byOtherName]: "name_mismatch",
    [foreign.address]: "foreign_ca",
    [plainNode.address]: "node_plaintext",
    [foreignNode.address]: "node_certificate",
    [at(silent)]: "timeout",
    [at(rude)]: "handshake_failed",
  };
  const wanted = Object.entries(faults).map(([address, code]) => `${code} ${address}`);
  includesAll(await found(home, [secure, ...Object.keys(faults)]), wanted);

  // The other way round: what a coordinator has against this side's certificate.
  const trusting = [secure, `--peer.client-ca-file=${join(home.tls, "ca/ca.crt")}`];
  const pair = (folder: string) => [
    `--peer.cert-file=${join(folder, "server.crt")}`,
    `--peer.key-file=${join(folder, "server.key")}`,
  ];
  const target = sound.address.replace(/^.*:/, "127.0.0.1:");
  for (
    const [args, code] of [
      [[], "client_certificate_missing"],
      [pair(other.tls), "client_certificate_refused"],
      [pair(lab.at("expired")), "client_certificate_expired"],
      [pair(lab.at("early")), "client_certificate_not_yet_valid"],
    ] as const
  ) includesAll(await found(home, [...trusting, ...args, target]), [`${code} ${target}`]);

  // The same without any certificate here.
  await using bare = await tempHome();
  const serve = async (answer: (response: ServerResponse) => void) => {
    const server = createServer((_request, response) => answer(response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    open.defer(() => void server.close());
    return `127.0.0.1:${(server.address() as { port: number }).port}`;
  };
  const stranger = await serve((response) => response.end("no agent"));
  const wrongClock = await serve((response) => {
    response.setHeader("date", new Date(Date.now() - 3_600_000).toUTCString());
    response.end('{"status":"ok","role":"node"}');
  });
  const codes = await found(bare, [stranger, sound.address, foreignNode.address, wrongClock]);
  includesAll(codes, [
    `not_a_coordinator ${stranger}`,
    "plaintext_to_tls",
    "nothing_trusted",
    `clock_differs ${wrongClock}`,
  ]);
});

Deno.test("a coordinator of this host that does not answer is named", async () => {
  await using home = await tempHome();
  const silent = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  try {
    const { port } = silent.addr as Deno.NetAddr;
    const args = ["doctor", "--json", "--node.mdns=false", `--node.port=${freePort()}`];
    const ran = await agent.run([...args, `--coordinator.port=${port}`], { home });
    const { findings } = JSON.parse(ran.stdout) as { findings: { code: string; what: string }[] };
    const [finding] = findings.filter(({ code }) => code === "timeout");
    assert.match(finding?.what ?? "", /does not answer.*the local coordinator/);
  } finally {
    silent.close();
  }
});

Deno.test("each fault of a TLS directory is named", async () => {
  await using lab = await tlsLab();
  await using home = await tempHome();
  const name = Deno.hostname();
  const at = (root: string, days = 0) => ({
    ...lab.host(name, { detected: { hostnames: [name] } }),
    root,
    now: () => Date.now() + days * dayMs,
  });
  const remove = (...path: string[]) => Deno.remove(join(...path));
  const faults: Record<string, (root: string) => Promise<unknown>> = {
    damaged: (root) => Deno.writeTextFile(join(root, "server.crt"), "no certificate"),
    certificate_missing: (root) => remove(root, "server.crt"),
    key_missing: (root) => remove(root, "server.key"),
    key_mismatch: async (root) => {
      const old = await Deno.readFile(join(root, "server.key"));
      await renewServer(at(root), {});
      await Deno.writeFile(join(root, "server.key"), old);
    },
    expired: (root) => initTls(at(root, -900), { force: true }),
    not_yet_valid: (root) => initTls(at(root, 30), { force: true }),
    expires_soon: (root) => initTls(at(root, -800), { force: true }),
    foreign_ca: async (root) => {
      const out = join(root, "..", "elsewhere");
      await initTls(at(out));
      for (const file of ["server.crt", "server.key"]) {
        await Deno.copyFile(join(out, file), join(root, file));
      }
    },
    nothing_trusted: async (root) => {
      await Deno.remove(join(root, "ca"), { recursive: true });
      await remove(root, "ca-bundle.crt");
    },
    exposed: (root) => Deno.chmod(join(root, "server.key"), 0o644),
    previous_ca: async (root) => {
      const files = ["server.crt", "server.key"].map((file) => join(root, file));
      const old = await Promise.all(files.map((file) => Deno.readFile(file)));
      await renewCa(at(root), {});
      await Promise.all(files.map((file, index) => Deno.writeFile(file, old[index]!)));
    },
    disabled: (root) => disable(at(root)),
    san_gap: (root) =>
      initTls({ ...at(root), detect: lab.host("elsewhere").detect }, { force: true }),
    bundle_stale: async (root) => {
      const other = join(root, "..", "other");
      await initTls(at(other));
      await importCa(at(root), join(other, "ca/ca.crt"));
      await remove(root, "ca-bundle.crt");
    },
  };
  await Promise.all(
    Object.entries(faults).map(async ([code, make]) => {
      const root = lab.at(code, "tls");
      await initTls(at(root));
      await make(root);
      const codes = await found(home, [], { env: { AGENT_TLS_DIR: root } });
      includesAll(codes, [`tls_${code}`]);
    }),
  );
  await Deno.mkdir(lab.at("unreadable", "tls"), { recursive: true });
  await Deno.writeTextFile(lab.at("unreadable", "tls", "config.yaml"), "enabled: [");
  const env = { AGENT_TLS_DIR: lab.at("unreadable", "tls") };
  includesAll(await found(home, [], { env }), ["tls_directory"]);
});

Deno.test("settings that do not do what they look like are named", async () => {
  await using home = await tempHome();
  assert.equal((await agent.run(["tls", "init"], { home })).code, 0);
  const env = { AGENT_WORKER_SLOT: "3", AGENT_PEER_CERT_FILE: undefined };
  const codes = await found(home, [], { env });
  const asRoot = Deno.uid() === 0 ? ["tasks_could_read_ca_key"] : [];
  includesAll(codes, ["grpc_plaintext", "unknown_variable", ...asRoot]);
  const half = [secure, `--peer.cert-file=${join(home.tls, "server.crt")}`];
  includesAll(await found(home, half), ["role_refused"]);
});

Deno.test({
  name: "a clock before the release is named",
  ...await component("faketime", programs("faketime")),
  async fn() {
    await using home = await tempHome();
    const codes = await found(home, [], { through: ["faketime", "2020-01-01 00:00:00"] });
    includesAll(codes, ["clock_before_release"]);
  },
});

Deno.test({
  name: "faults of the system are named",
  ...await component(
    "faults of the system",
    () => Deno.build.os === "linux" ? undefined : "needs Linux",
    asRoot,
    networkNamespaces,
    programs("unshare", "ip", "mount", "iptables"),
  ),
  async fn() {
    await using home = await tempHome();
    for (const name of ["read-only", "full", "crowded"]) await Deno.mkdir(join(home.path, name));
    const folder = (name: string) => join(home.path, name);
    const folders = [
      `--coordinator.data-dir=${folder("read-only")}`,
      `--worker.data-dir=${folder("full")}`,
      `--node.data-dir=${folder("crowded")}`,
      "--node.mdns=true",
    ];
    // A host of its own, in which nothing can harm this one.
    const inside = (script: string) => ({
      through: [
        ...["unshare", "--mount", "--net", "--uts", "--propagation", "private", "sh", "-euc"],
        `hostname no-such-name; ip link set lo up; ${script}; exec "$@"`,
        "sh",
      ],
    });
    const disks = `mount -t tmpfs -o ro tmpfs '${folder("read-only")}'
      mount -t tmpfs -o size=1m tmpfs '${folder("full")}'
      head -c 1000000 /dev/zero >'${folder("full")}/file'
      mount -t tmpfs -o nr_inodes=500 tmpfs '${folder("crowded")}'
      for mount in $(sed -n '/ - cgroup2 /p' /proc/self/mountinfo | cut -d' ' -f5); do
        mount -o remount,bind,ro "$mount"
      done`;
    const units = `mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/system
      mount -t tmpfs tmpfs /etc/systemd; mkdir -p /etc/systemd/system/multi-user.target.wants
      touch /etc/systemd/system/agent-node.service`;
    const first = await found(
      home,
      [...folders, "10.9.9.9:50055"],
      inside(`${disks}; ${units}; ip route add unreachable 10.9.9.9`),
    );
    includesAll(first, [
      "folder_not_writable",
      "disk_full",
      "no_inodes",
      "own_name_unknown",
      "no_network",
      "multicast_no_route",
      "unreachable",
      "service_disabled",
    ]);
    const mounts = await Deno.readTextFile("/proc/self/mountinfo");
    if (/ - cgroup2? /.test(mounts)) includesAll(first, ["no_cgroups"]);
    const second = await found(
      home,
      ["--node.mdns=true"],
      inside(`${units}; touch /etc/systemd/system/multi-user.target.wants/agent-node.service
        ip link add v0 type veth peer name v1; ip link set v0 up; ip link set v1 up
        ip addr add 10.0.0.1/24 dev v0; ip route add 224.0.0.0/4 dev v0
        iptables -A INPUT -p udp --dport 5353 -j DROP`),
    );
    includesAll(second, ["service_down", "multicast_deaf"]);
    assert.ok(!second.includes("no_network"));
    // Root may make cgroups where there are some, whatever the mode of their folder.
    const canMake = / rw\S* .*- cgroup2 \S+ rw/.test(mounts);
    if (canMake) assert.ok(!second.includes("no_cgroups"));
  },
});
