import assert from "node:assert/strict";
import { type Interface, usableInterfaces } from "../base/interfaces.ts";
import { dialable, isLoopbackHost } from "./addresses.ts";

/** Near the networks of a host itself, and none of them. */
const far = ["12.0.0.1", "126.255.255.255", "128.0.0.1", "1.27.0.1", "169.253.0.1", "170.254.0.1"];

Deno.test("loopback addresses of another host are not dialled, if it has any others", () => {
  for (const near of ["127.0.0.1", "127.255.255.254", "::1", "localhost"]) {
    assert.ok(isLoopbackHost(near), near);
  }
  for (const host of far) assert.ok(!isLoopbackHost(host), host);
  const all = ["127.0.0.1:1", "[::1]:1", ...far.map((host) => `${host}:1`)];
  assert.deepEqual(dialable(all), far.map((host) => `${host}:1`));
  assert.deepEqual(dialable(["127.0.0.1:1"]), ["127.0.0.1:1"]);
});

Deno.test("other hosts may be on an interface whose address is not for one host or link alone", () => {
  const at = (address: string): Interface => ({
    name: "eth0",
    family: address.includes(":") ? "IPv6" : "IPv4",
    address,
  });
  const local = ["127.0.0.1", "169.254.1.1", "0.0.0.0", "fe80::1", "febf::1", "::1"];
  const usable = [...far, "fec0::1", "fd00::1", "2001:db8::1"];
  assert.deepEqual(usableInterfaces([...local, ...usable].map(at)), usable.map(at));
});
