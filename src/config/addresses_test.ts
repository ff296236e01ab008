import assert from "node:assert/strict";
import { isLoopback, isNetwork, splitAddress } from "./addresses.ts";

Deno.test("loopback is literal", () => {
  for (
    const near of [
      "127.0.0.1",
      "127.9.9.9:1",
      "::1",
      "[::1]:5",
      "localhost",
      "LOCALHOST:1",
      "localhost.",
      "0:0::1",
    ]
  ) {
    assert(isLoopback(near), near);
  }
  for (
    const far of [
      "0.0.0.0",
      "::",
      "10.0.0.1:1",
      "12.0.0.1",
      "126.255.255.255",
      "128.0.0.1:1",
      "1270.0.0.1",
      "localhost.lan",
      "127.0.0.1.nip.io",
      "1::1",
      "::ffff:127.0.0.1",
      "",
      "x",
    ]
  ) assert(!isLoopback(far), far);
});

Deno.test("an address is a host and a port, of any family", () => {
  for (
    const [text, expected] of [
      ["a", { host: "a", port: 7 }],
      ["a:1", { host: "a", port: 1 }],
      ["gpu1.lan.", { host: "gpu1.lan", port: 7 }],
      ["localhost.:1", { host: "localhost", port: 1 }],
      ["::1", { host: "::1", port: 7 }],
      ["[::1]:1", { host: "::1", port: 1 }],
      ["", undefined],
      [".", undefined],
      ["a:0", undefined],
      ["a:65536", undefined],
      ["a..", undefined],
      ["[a]:1", undefined],
      ["1.2.3:1", undefined],
      ["a:1:2", undefined],
      ["http://a:1", undefined],
    ] as const
  ) assert.deepEqual(splitAddress(text, 7), expected, text);
  assert.equal(splitAddress("a"), undefined, "without a default the port is needed");
});

Deno.test("a network is an address with or without the length of its prefix", () => {
  for (const good of ["10.0.0.1", "10.0.0.0/8", "fd00::/8", "::1", "0.0.0.0/0"]) {
    assert(isNetwork(good), good);
  }
  for (
    const bad of ["", "a", "10.0.0.0/33", "fd00::/129", "10.0.0.0/", "/8", "10.0.0/8", "1/2/3"]
  ) {
    assert(!isNetwork(bad), bad);
  }
});
