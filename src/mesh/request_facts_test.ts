import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { factsOf, trustedProxies } from "./request_facts.ts";

const isProxy = trustedProxies(["10.0.0.0/8", "fd00::/8"]);

/** The caller's address, by who connects and what `X-Forwarded-For` says. */
function source(remoteAddress: string, forwarded: string): string {
  const headers = { host: "node.test", "x-forwarded-for": forwarded };
  const request = { socket: { remoteAddress }, headers } as unknown as IncomingMessage;
  return factsOf(request, isProxy).source;
}

Deno.test("the caller behind proxies is the last address that no trusted proxy wrote", () => {
  assert.equal(source("10.0.0.1", "203.0.113.9"), "203.0.113.9");
  assert.equal(source("10.0.0.1", "198.51.100.1, 203.0.113.9, 10.0.0.2"), "203.0.113.9");
  assert.equal(source("10.0.0.1", "198.51.100.1, 203.0.113.9:5000"), "203.0.113.9");
  assert.equal(source("fd00::1", "198.51.100.1, [2001:db8::9]:5000"), "2001:db8::9");
  assert.equal(source("10.0.0.1", "198.51.100.1, [2001:db8::9]"), "2001:db8::9");
});

Deno.test("an address that a caller writes itself is not believed", () => {
  assert.equal(source("203.0.113.9", "198.51.100.1"), "203.0.113.9");
  // A proxy that hides its callers: what stands before is theirs.
  assert.equal(source("10.0.0.1", "198.51.100.1, unknown"), "10.0.0.1");
  assert.equal(source("10.0.0.1", "198.51.100.1, _hidden, 10.0.0.2"), "10.0.0.1");
});
