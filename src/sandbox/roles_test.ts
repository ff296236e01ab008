import assert from "node:assert/strict";
import { loadConfig } from "../config/load.ts";
import { peerMode } from "../config/peer_mode.ts";
import type { ConfigKey } from "../config/schema.ts";
import { clientGrants, coordinatorGrants, workerGrants } from "./roles.ts";

const { config } = loadConfig({
  flags: new Map<ConfigKey, string>([
    ["peer.insecure", "false"],
    ["peer.cert_file", "/tls/server.crt"],
    ["peer.key_file", "/tls/server.key"],
    ["peer.client_ca_file", "/tls/ca.crt"],
    ["coordinator.host", "::"],
    ["worker.coordinators", "a.lan,[::1]:7"],
    ["client.coordinators", "b.lan:9"],
    ["worker.health_port", "0"],
  ]),
  variables: {},
  file: undefined,
  workingFolder: "/",
  host: { hostname: "h", cpus: 1, stateRoot: "/state", terminal: false },
});
const files = ["/tls/server.crt", "/tls/server.key", "/tls/ca.crt"];

Deno.test("roles and clients are granted what the table of the design says, and no more", () => {
  const server = peerMode(config, "server", []);
  const { env: _, ...coordinator } = coordinatorGrants(config, server);
  assert.deepEqual(coordinator, {
    read: [...files, "/state/coordinator"],
    write: ["/state/coordinator"],
    net: ["[::]:50055", "127.0.0.1:8091"],
    sys: ["hostname", "statfs"],
    run: [],
  });
  const client = peerMode(config, "client", []);
  const { env: _env, ...worker } = workerGrants(config, client);
  assert.deepEqual(worker, {
    read: [...files, "/state/worker/h"],
    write: ["/state/worker/h"],
    net: ["a.lan:50055", "[::1]:7"],
    sys: ["hostname", "statfs"],
    run: [],
  });
  const { env: _names, ...submit } = clientGrants(config, client, { write: ["/out"] });
  assert.deepEqual(submit, { read: files, write: ["/out"], net: ["b.lan:9"], sys: [], run: [] });
});

Deno.test("plaintext needs no files, and only those who dial may read proxy settings", () => {
  const h2c = { mode: "h2c" } as const;
  assert.deepEqual(clientGrants(config, h2c).read, []);
  assert(clientGrants(config, h2c).env.includes("HTTPS_PROXY"));
  assert.deepEqual(coordinatorGrants(config, h2c).env, []);
});
