import assert from "node:assert/strict";
import { addressesOf, type Heard } from "./discovery.ts";

const own = { id: "me", cluster: "lab", tls: true };
const txt = { id: "other", cluster: "lab", tls: "1", v: "1" };

Deno.test("only adverts of other nodes of the same cluster lead anywhere", () => {
  const referer = { address: "10.0.0.2" };
  const cases: [name: string, heard: Heard, addresses: string[]][] = [
    ["a node", { txt, port: 8765, addresses: [], referer }, ["10.0.0.2:8765"]],
    ["all its addresses, the sender's first", {
      txt,
      port: 1,
      addresses: ["10.1.0.2", "10.0.0.2", "fd00::2"],
      referer,
    }, ["10.0.0.2:1", "10.1.0.2:1", "[fd00::2]:1"]],
    ["no loopback and no link-local", {
      txt,
      port: 1,
      addresses: ["127.0.0.1", "::1", "fe80::1", "169.254.1.1"],
      referer,
    }, ["10.0.0.2:1"]],
    ["ourselves", { txt: { ...txt, id: "me" }, port: 1, referer }, []],
    ["another cluster", { txt: { ...txt, cluster: "other" }, port: 1, referer }, []],
    ["another scheme", { txt: { ...txt, tls: "0" }, port: 1, referer }, []],
    ["other software without TXT", { port: 1, referer }, []],
    ["other software with odd TXT", { txt: { id: "x", path: "/" }, port: 1, referer }, []],
    ["no port", { txt, referer }, []],
    ["port 0", { txt, port: 0, referer }, []],
    ["a port that is too large", { txt, port: 70_000, referer }, []],
    ["a port that is text", { txt, port: "1", referer }, []],
    ["nothing", {}, []],
    ["addresses of other types", { txt, port: 1, addresses: [1, {}, null] }, []],
    ["addresses that are none", { txt, port: 1, addresses: "10.0.0.1" }, []],
    ["many addresses", {
      txt,
      port: 1,
      addresses: Array.from({ length: 1_000 }, (_, n) => `10.0.${n >> 8}.${n & 255}`),
    }, Array.from({ length: 8 }, (_, n) => `10.0.0.${n}:1`)],
  ];
  for (const [name, heard, addresses] of cases) {
    assert.deepEqual(addressesOf(heard, own), addresses, name);
  }
});
