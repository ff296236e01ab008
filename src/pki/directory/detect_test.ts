import assert from "node:assert/strict";
import { detect, type HostFacts } from "./detect.ts";

const facts = (more: Partial<HostFacts>): HostFacts => ({
  hostname: "gpu1",
  hosts: undefined,
  resolvConf: undefined,
  addresses: [],
  ...more,
});

Deno.test("names come from the host, /etc/hosts and the search domain", () => {
  const cases: [string, Partial<HostFacts>, string[]][] = [
    ["nothing but the name", {}, ["gpu1"]],
    ["a full name in hosts", { hosts: "127.0.1.1 gpu1.example.org gpu1\n" }, [
      "gpu1",
      "gpu1.example.org",
    ]],
    ["aliases, tabs and comments", {
      hosts: "# x\n127.0.0.1\tlocalhost\n10.0.0.5\tgpu1.lan gpu1 www # gpu1.evil\n10.0.0.6 gpu2\n",
    }, ["gpu1", "gpu1.lan", "www"]],
    ["IPv6 names of this host only", { hosts: "::1 localhost ip6-localhost gpu1\n" }, ["gpu1"]],
    ["the first search domain", { resolvConf: "nameserver 10.0.0.1\nsearch lan corp.lan\n" }, [
      "gpu1",
      "gpu1.lan",
    ]],
    ["the older form of it", { resolvConf: "domain lan\n" }, ["gpu1", "gpu1.lan"]],
    ["a root search domain", { resolvConf: "search .\n" }, ["gpu1"]],
    ["a name that is full already", { hostname: "gpu1.a.org", resolvConf: "search lan\n" }, [
      "gpu1.a.org",
    ]],
    ["capitals", { hostname: "GPU1.Lan" }, ["gpu1.lan"]],
    ["a name that no certificate holds", { hostname: "my host!" }, ["host"]],
    ["a wildcard in hosts", { hosts: "10.0.0.1 gpu1 *.com\n" }, ["gpu1"]],
    ["rubbish in hosts", { hosts: "x gpu1\n999.1.1.1 gpu1 a\n10.0.0.1 gpu1 b_c -d\n" }, [
      "gpu1",
      "b_c",
    ]],
  ];
  for (const [what, more, wanted] of cases) {
    assert.deepEqual(detect(facts(more)).hostnames, wanted, what);
  }
});

Deno.test("addresses that nobody else could dial are left out, IPv4 comes first", () => {
  const addresses = [
    "::1",
    "fe80::1",
    "fd00::5",
    "127.0.0.1",
    "127.0.1.1",
    "12.0.0.1",
    "128.0.0.1",
    "169.254.3.4",
    "10.0.0.5",
    "2001:db8::1",
    "172.17.0.1",
    "10.0.0.5",
    "0.0.0.0",
    "::",
  ];
  assert.deepEqual(detect(facts({ addresses })).ips, [
    "12.0.0.1",
    "128.0.0.1",
    "10.0.0.5",
    "172.17.0.1",
    "fd00::5",
    "2001:db8::1",
  ]);
});

Deno.test("at most 32 are taken, and those left out are told", () => {
  const addresses = Array.from({ length: 40 }, (_, i) => `10.0.0.${i + 1}`);
  const found = detect(facts({ addresses }));
  assert.equal(found.hostnames.length + found.ips.length, 32);
  assert.deepEqual(found.leftOut, addresses.slice(31));
});
