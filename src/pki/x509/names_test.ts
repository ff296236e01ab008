import assert from "node:assert/strict";
import { commonNameFor, ipFromBytes, missing, parseHostname, parseIp, union } from "./names.ts";

Deno.test("host names are brought into the form that certificates hold", () => {
  const cases: [string, string][] = [
    ["gpu1.lan", "gpu1.lan"],
    ["GPU1.Lan.", "gpu1.lan"],
    ["a_b", "a_b"],
    ["*.lan", "*.lan"],
    ["bücher.example", "xn--bcher-kva.example"],
  ];
  for (const [given, wanted] of cases) assert.equal(parseHostname(given), wanted);
});

Deno.test("what is no host name is refused with exit code 2", () => {
  const bad = ["", ".", "a..b", "-a", "a b", "a/b", "a\0b", "*", "a.*.b", "10.0.0.1", "::1", "1.2"];
  for (const name of [...bad, "a".repeat(64), "a.".repeat(127) + "aa", "a\nb", "a:1"]) {
    assert.throws(() => parseHostname(name), { code: "bad_name", exit: 2 }, name);
  }
});

Deno.test("addresses are brought into their one canonical form", () => {
  const cases: [string, string][] = [
    ["10.0.0.5", "10.0.0.5"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["[FD00::0005]", "fd00::5"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
  ];
  for (const [given, wanted] of cases) assert.equal(parseIp(given), wanted);
  for (const bad of ["", "10.0.0", "10.0.0.256", "fe80::1%eth0", "a.lan", "1.2.3.4/24"]) {
    assert.throws(() => parseIp(bad), { code: "bad_name", exit: 2 }, bad);
  }
  assert.equal(ipFromBytes(new Uint8Array([10, 0, 0, 5])), "10.0.0.5");
  assert.equal(ipFromBytes(new Uint8Array([...Array(15).fill(0), 1])), "::1");
  assert.equal(ipFromBytes(new Uint8Array(5)), undefined);
});

Deno.test("a wildcard covers exactly one label", () => {
  const covered = { hostnames: ["*.lan"], ips: [] };
  assert.deepEqual(missing({ hostnames: ["a.lan", "a.b.lan", "lan"], ips: [] }, covered), {
    hostnames: ["a.b.lan", "lan"],
    ips: [],
  });
});

Deno.test("a union keeps each name once and in order", () => {
  const both = union({ hostnames: ["b", "a"], ips: ["::1"] }, { hostnames: ["a", "c"], ips: [] });
  assert.deepEqual(both, { hostnames: ["b", "a", "c"], ips: ["::1"] });
});

Deno.test("a certificate is called after the first name that tells hosts apart", () => {
  const cases: [string[], string[], string][] = [
    [["localhost", "a.lan", "b.lan"], ["10.0.0.5"], "a.lan"],
    [["localhost"], ["127.0.0.1", "10.0.0.5"], "10.0.0.5"],
    [[`${"x".repeat(60)}.${"y".repeat(60)}`, "a"], [], "a"],
    [[], ["::1"], "localhost"],
  ];
  for (const [hostnames, ips, name] of cases) {
    assert.equal(commonNameFor({ hostnames, ips }), name);
  }
});
