import assert from "node:assert/strict";
import { Refusal, UsageError, UserError } from "../base/errors.ts";
import { loadConfig } from "./load.ts";
import { idleTls, peerMode, type PeerRole } from "./peer_mode.ts";
import type { ConfigKey } from "./schema.ts";

function configOf(flags: Partial<Record<ConfigKey, string>>) {
  return loadConfig({
    flags: new Map(Object.entries(flags) as [ConfigKey, string][]),
    variables: {},
    file: undefined,
    workingFolder: "/",
    host: { hostname: "h", cpus: 1, stateRoot: "/s", terminal: false },
  }).config;
}

const pair = { "peer.cert_file": "/c", "peer.key_file": "/k" } as const;
const ca = { "peer.client_ca_file": "/ca" } as const;
const tls = { "peer.insecure": "false" } as const;
const skip = { "peer.skip_tls_verify": "true" } as const;

Deno.test("the mode follows from what is set", () => {
  for (
    const [role, flags, address, expected] of [
      ["coordinator", {}, "127.0.0.1", "h2c"],
      ["client", {}, "localhost:50055", "h2c"],
      ["coordinator", {}, "0.0.0.0", /Refused to listen on "0.0.0.0" without TLS/],
      ["client", {}, "gpu1:50055", /Refused to dial "gpu1:50055" without TLS/],
      ["coordinator", { "peer.insecure": "true" }, "0.0.0.0", "h2c"],
      ["client", { "peer.insecure": "true" }, "gpu1:50055", "h2c"],
      ["coordinator", { "peer.insecure": "true", ...pair }, "127.0.0.1", "h2c"],
      ["client", skip, "gpu1:1", /Refused to dial/],
      ["coordinator", tls, "127.0.0.1", /no certificate to serve with/],
      ["coordinator", { ...tls, ...ca }, "127.0.0.1", /no certificate to serve with/],
      ["coordinator", { ...tls, "peer.cert_file": "/c" }, "127.0.0.1", /peer.key_file" is not/],
      ["coordinator", { ...tls, "peer.key_file": "/k" }, "127.0.0.1", /peer.cert_file" is not/],
      ["coordinator", { ...tls, ...pair }, "0.0.0.0", "tls"],
      ["coordinator", { ...tls, ...pair, ...ca }, "0.0.0.0", "mtls"],
      ["client", tls, "127.0.0.1:1", /no CA to verify the coordinator/],
      ["client", { ...tls, ...pair }, "a:1", /no CA to verify the coordinator/],
      ["client", { ...tls, ...ca }, "a:1", "tls"],
      ["client", { ...tls, ...skip }, "a:1", "tls"],
      ["client", { ...tls, ...ca, ...pair }, "a:1", "mtls"],
      ["client", { ...tls, ...ca, "peer.cert_file": "/c" }, "a:1", /peer.key_file" is not/],
    ] as [PeerRole, Partial<Record<ConfigKey, string>>, string, string | RegExp][]
  ) {
    const key = role === "coordinator" ? "coordinator.host" : "client.coordinators";
    const decide = () => peerMode(configOf({ ...flags, [key]: address }), role);
    if (typeof expected === "string") assert.equal(decide().mode, expected);
    else {
      assert.throws(decide, (error) => error instanceof UserError && expected.test(error.message));
    }
  }
});

Deno.test("settings of TLS that have no effect are named", () => {
  assert.match(idleTls(configOf(pair)) ?? "", /^TLS is off: peer\.cert_file is set/);
  assert.match(idleTls(configOf(ca)) ?? "", /^TLS is off: peer\.client_ca_file is set/);
  const skip = { "peer.skip_tls_verify": "true" } as const;
  for (const flags of [skip, { ...skip, "peer.insecure": "true" }]) {
    assert.match(idleTls(configOf(flags)) ?? "", /peer\.skip_tls_verify does not turn it on/);
  }
  for (const flags of [{}, { ...pair, ...tls }, { ...pair, "peer.insecure": "true" }]) {
    assert.equal(idleTls(configOf(flags)), undefined);
  }
});

Deno.test("plaintext beyond loopback is a refusal that can be overridden, not wrong usage", () => {
  const far = { "coordinator.host": "10.0.0.1" } as const;
  assert.throws(() => peerMode(configOf(far), "coordinator"), Refusal);
  assert.throws(() => peerMode(configOf({ ...far, ...tls }), "coordinator"), UsageError);
});

Deno.test("verification is skipped on the client's side only", () => {
  const server = peerMode(configOf({ ...tls, ...pair, ...skip }), "coordinator");
  assert(server.mode !== "h2c" && !server.skipVerify);
  const client = peerMode(configOf({ ...tls, ...skip, "peer.server_name": "x" }), "client");
  assert(client.mode !== "h2c" && client.skipVerify && client.serverName === "x");
});
