/** Runs the procedures of docs/tls.md and docs/ca.md exactly as printed. */
import assert from "node:assert/strict";
import { component, programs } from "../support/component.ts";
import { eventually } from "../support/eventually.ts";
import { type Host, type Hosts, hostsCheck, threeHosts } from "../support/hosts.ts";
import { assertAllBelow, loadWalk, stepsBelow, Typist } from "../support/walk.ts";

type Three = Hosts<"a" | "b" | "c">;
const names = ["a", "b", "c"];
const tls = await loadWalk("docs/tls.md", names);
const ca = await loadWalk("docs/ca.md", names);
const setUp = stepsBelow(tls, "Set up three hosts");
const ready = await component(
  "several hosts on one machine",
  ...hostsCheck,
  programs("openssl", "curl"),
);

const bundle = "/etc/agent/tls/ca-bundle.crt";
const server = "/etc/agent/tls/server.crt";
const key = "/etc/agent/tls/server.key";
const show = (what: string) => `openssl x509 -in ${server} -noout ${what}`;
const verify =
  `openssl verify -x509_strict -purpose sslserver -CAfile ${bundle} -untrusted ${server} ${server}`;
const modes = "cd /etc/agent/tls; find . -name '*.key*' -printf '%m\\n' | sort -u";

/** True if one host accepts another's certificate, as a TLS client that presents its own. */
async function accepts(hosts: Three, from: keyof Three & string, to: string): Promise<boolean> {
  const host = hosts[to as "a"];
  await using _ = await host.serve(
    `openssl s_server -www -accept 9443 -cert ${server} -key ${key} -CAfile ${bundle} ` +
      "-Verify 1 -verify_return_error",
    /ACCEPT/,
  );
  const { code } = await hosts[from as "a"].run(
    `curl -sS --cacert ${bundle} --cert ${server} --key ${key} https://${host.address}:9443/`,
  );
  return code === 0;
}

/** What the set-up leaves on each host, as archives: it is the same for every walk. */
let afterSetUp: string[] | undefined;

/** Types the set-up, or restores what it left when it was typed before. */
async function setUpHosts(hosts: Three, typist: Typist): Promise<void> {
  const known = afterSetUp;
  if (known !== undefined) {
    const restore = (host: Host, at: number) => host.ok("base64 -d | tar -xpC /", known[at]);
    await Promise.all(hosts.list.map(restore));
    return;
  }
  await typist.type(setUp);
  const keep = "tar -cC / --exclude=root/.ssh etc/agent root | base64 -w0";
  afterSetUp = await Promise.all(hosts.list.map((host) => host.ok(keep)));
}

function walk(name: string, fn: (hosts: Three, typist: Typist) => Promise<void>): void {
  Deno.test({
    name,
    ...ready,
    async fn() {
      await using hosts = await threeHosts();
      await using typist = new Typist(hosts.list);
      await setUpHosts(hosts, typist);
      await fn(hosts, typist);
    },
  });
}

Deno.test("docs/tls.md, docs/ca.md: every command that can run here is run", () => {
  assertAllBelow(tls, [
    "Set up three hosts",
    "Use it",
    "Check it",
    "Look after it",
    "Take a host out of service",
    "Certificates of another CA",
  ]);
  assertAllBelow(ca, [
    "Keep a copy",
    "Renew the CA",
    "A stolen key",
    "The CA's host is lost",
    "Two clusters that trust each other",
  ]);
});

walk("docs/tls.md: three hosts are set up and renewed, and one is taken out", async (
  hosts,
  typist,
) => {
  for (const host of hosts.list) {
    await host.ok("agent tls status --check");
    await host.ok(verify);
    assert.equal(await host.ok(modes), "600\n");
  }
  assert.match(
    await hosts.c.ok(show("-ext subjectAltName")),
    /DNS:c\.lan.*IP Address:10\.77\.0\.3/,
  );
  const serials = async () =>
    await Promise.all(hosts.list.slice(0, 2).map((host) => host.ok(show("-serial"))));
  const before = await serials();
  await typist.type(stepsBelow(tls, "Look after it"));
  (await serials()).forEach((serial, i) => assert.notEqual(serial, before[i]));
  for (const host of hosts.list) await host.ok("agent tls status --check");

  await typist.type(stepsBelow(tls, "Take a host out of service"));
  assert.equal((await hosts.c.run("ls -A /etc/agent/tls")).stdout, "");
});

walk("docs/tls.md: three hosts are used and checked, also while certificates change", async (
  hosts,
  typist,
) => {
  await typist.type(stepsBelow(tls, "Use it"));
  await typist.type(stepsBelow(tls, "Check it"));
  await typist.type(stepsBelow(tls, "Look after it"));
  await typist.type(stepsBelow(tls, "Check it"));
  const submit = stepsBelow(tls, "Use it").filter(({ runsOn }) => !runsOn);
  await typist.type(submit);
  const served = "echo | openssl s_client -connect a.lan:50055 -alpn h2 2>/dev/null | " +
    "openssl x509 -noout -serial";
  const serial = await hosts.a.ok(show("-serial"));
  await eventually(15_000, async () => await hosts.b.ok(served) === serial);
});

walk(
  "docs/tls.md: certificates of a company's CA are installed, or followed where they are",
  async (
    { c },
    typist,
  ) => {
    await c.ok("agent tls clean --yes");
    await c.ok(company);
    await typist.type(stepsBelow(tls, "Installed once"));
    await c.ok(verify);

    await c.ok("agent tls clean --yes && mkdir -m 700 /etc/agent/tls /etc/company");
    await c.ok("cp host.crt host.key /etc/company/ && cp company-ca.crt /etc/company/root.crt");
    const [, settings] = (await Deno.readTextFile(new URL("../../docs/tls.md", import.meta.url)))
      .match(/```yaml\n(.*?)```/s)!;
    await c.ok("cat >/etc/agent/tls/config.yaml", settings);
    await typist.type(stepsBelow(tls, "Managed by another program"));
    await c.ok(
      `openssl verify -CAfile ${bundle} -untrusted /etc/company/host.crt /etc/company/host.crt`,
    );
    const before = await c.ok("sha256sum /etc/company/*");
    {
      const open = "--coordinator.host=0.0.0.0 --coordinator.advertise=c.lan";
      await using _ = await c.start(`agent coordinator ${open} --peer.insecure=false`);
      await c.ok("agent workers list --coordinators=c.lan:50055 --peer.insecure=false");
    }
    await c.ok("agent tls clean --yes");
    assert.equal(await c.ok("sha256sum /etc/company/*"), before);
    await typist.type(stepsBelow(tls, "For one process only"));
  },
);

/** Makes a root, an intermediate and a host certificate with OpenSSL. */
const company = `
  umask 077
  make() { # name, subject, issuer's name, extensions
    openssl req -new -newkey rsa:2048 -nodes -keyout $1.key -subj "$2" -out $1.csr 2>&1
    printf '%s\\n' "subjectKeyIdentifier=hash" "authorityKeyIdentifier=keyid" "$4" >$1.ext
    if [ $1 = $3 ]; then by="-key $1.key"; else by="-CA $3.crt -CAkey $3.key -CAcreateserial"; fi
    openssl x509 -req -in $1.csr $by -days 300 -extfile $1.ext -out $1.crt 2>&1
  }
  ca='basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign'
  make company-ca "/O=Company/CN=Company Root" company-ca "$ca"
  make between "/O=Company/CN=Company Issuing" company-ca "$ca"
  make host "/O=Company/CN=c.lan" between 'basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature,keyEncipherment
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=DNS:c.lan,DNS:c,DNS:localhost,IP:10.77.0.3,IP:127.0.0.1'
  cat between.crt >>host.crt`;

walk("docs/ca.md: the CA is renewed, and hosts that lag behind catch up", async (hosts, typist) => {
  const [renew, give, peers, drop, half] = stepGroups("Renew the CA");
  await typist.type(renew!);
  assert.equal(await accepts(hosts, "b", "a"), false, "b has only the former CA");
  const [toB, toC] = give![0]!.commands;
  await typist.type([{ ...give![0]!, commands: [toB!] }]);
  assert.equal(await accepts(hosts, "b", "a"), true);
  assert.equal(await accepts(hosts, "b", "c"), true, "half the hosts have the new CA");
  assert.equal(await accepts(hosts, "c", "b"), true);
  assert.equal(await accepts(hosts, "c", "a"), false);
  await typist.type(half!);
  await typist.type([{ ...give![0]!, commands: [toC!] }]);
  assert.equal(await accepts(hosts, "c", "a"), true);
  await typist.type(peers!);
  await typist.type(drop!);
  for (const host of hosts.list) {
    await host.ok("agent tls status --check");
    assert.equal(await host.ok("ls /etc/agent/tls/trusted 2>/dev/null || true"), "");
  }
  for (const [from, to] of [["a", "b"], ["b", "c"], ["c", "a"]] as const) {
    assert.equal(await accepts(hosts, from, to), true);
  }
});

/** The blocks of a section, one by one. */
function stepGroups(title: string) {
  const groups = new Map<string, ReturnType<typeof stepsBelow>>();
  for (const step of stepsBelow(ca, title)) {
    groups.set(step.at, [...groups.get(step.at) ?? [], step]);
  }
  return [...groups.values()];
}

walk("docs/ca.md: a stolen CA key certifies nobody any more", async (hosts, typist) => {
  await hosts.a.ok("agent tls mint -o stolen && cp -r /etc/agent/tls/ca former");
  await typist.type(stepsBelow(ca, "A stolen key"));
  assert.equal(await accepts(hosts, "b", "a"), true);
  assert.equal(await accepts(hosts, "a", "b"), true);
  assert.equal(await accepts(hosts, "c", "a"), false, "c was not visited");
  await hosts.a.ok("scp -q stolen/server.crt b.lan:stolen.crt");
  for (const [host, file] of [[hosts.a, "stolen/server.crt"], [hosts.b, "stolen.crt"]] as const) {
    assert.notEqual((await host.run(`openssl verify -CAfile ${bundle} ${file}`)).code, 0);
  }
});

walk("docs/ca.md: a lost CA comes back from its copy, and no other host notices", async (
  hosts,
  typist,
) => {
  await typist.type(stepsBelow(ca, "Keep a copy"));
  assert.equal(await hosts.a.ok("stat -c %a ca-backup.tar"), "600\n");
  await hosts.a.ok("rm -r /etc/agent/tls");
  await typist.type(stepsBelow(ca, "From the copy"));
  await hosts.a.ok("agent tls status --check");
  assert.equal(await hosts.a.ok(modes), "600\n");
  assert.equal(await accepts(hosts, "a", "b"), true);
  assert.equal(await accepts(hosts, "c", "a"), true);
  await hosts.a.ok(`agent tls mint -o d-tls && openssl x509 -in d-tls/server.crt -noout`);
});

walk("docs/ca.md: a warm spare certifies at once, and no other host is touched", async (
  hosts,
  typist,
) => {
  const before = await hosts.c.ok("cd /etc/agent/tls; find . -type f -exec sha256sum {} + | sort");
  const [mirror, ...mint] = stepsBelow(ca, "A warm spare");
  await typist.type([mirror!]);
  await hosts.a.ok("rm -r /etc/agent/tls");
  await typist.type(mint);
  await hosts.b.ok("agent tls status --check");
  assert.equal(await hosts.b.ok(modes), "600\n");
  await hosts.b.ok("scp -q c-tls/server.crt c.lan:");
  await hosts.c.ok(`openssl verify -CAfile ${bundle} server.crt`);
  const after = await hosts.c.ok("cd /etc/agent/tls; find . -type f -exec sha256sum {} + | sort");
  assert.equal(after, before);
});

walk("docs/ca.md: without the CA's key the hosts are given a new CA", async (hosts, typist) => {
  await hosts.a.ok("rm -r /etc/agent/tls");
  await typist.type(stepsBelow(ca, "Without a copy: start over"));
  assert.equal(await accepts(hosts, "b", "c"), true);
  assert.equal(await accepts(hosts, "c", "b"), true);
});

walk("docs/ca.md: two clusters trust each other, until they do not", async (hosts, typist) => {
  await hosts.c.ok("agent tls clean --yes && agent tls init");
  assert.equal(await accepts(hosts, "a", "c"), false);
  const steps = stepsBelow(ca, "Two clusters that trust each other");
  await typist.type(steps.slice(0, -1));
  assert.equal(await accepts(hosts, "a", "c"), true);
  assert.equal(await accepts(hosts, "c", "a"), true);
  assert.equal(await accepts(hosts, "b", "c"), false, "an import is for one host");
  await typist.type(steps.slice(-1));
  assert.equal(await accepts(hosts, "a", "c"), false);
});
