import assert from "node:assert/strict";
import { loadConfig } from "../config/load.ts";
import type { ConfigKey } from "../config/schema.ts";
import { noGrants } from "./grants.ts";
import { clientGrants, coordinatorGrants, nodeGrants, workerGrants } from "./roles.ts";

function configOf(flags: Partial<Record<ConfigKey, string>>) {
  return loadConfig({
    flags: new Map(Object.entries(flags) as [ConfigKey, string][]),
    variables: {},
    file: undefined,
    workingFolder: "/",
    host: { hostname: "h", cpus: 1, stateRoot: "/state", terminal: false },
  }).config;
}

const config = configOf({
  "peer.insecure": "false",
  "peer.cert_file": "/tls/server.crt",
  "peer.key_file": "/tls/server.key",
  "peer.client_ca_file": "/tls/ca.crt",
  "coordinator.host": "::",
  "worker.coordinators": "a.lan,[::1]:7",
  "client.coordinators": "b.lan:9",
  "worker.health_port": "0",
});
const files = ["/tls/server.crt", "/tls/server.key", "/tls/ca.crt"];

Deno.test("roles and clients are granted what they use, and no more", () => {
  assert.deepEqual(coordinatorGrants(config), {
    ...noGrants,
    read: [...files, "/state/coordinator"],
    write: ["/state/coordinator"],
    net: ["[::]:50055", "127.0.0.1:8091"],
    sys: ["hostname", "statfs"],
  });
  assert.deepEqual(workerGrants(config), {
    ...noGrants,
    read: [...files, "/state/worker/h/spool", "/state/worker/h/artifacts"],
    write: ["/state/worker/h/spool"],
    net: ["a.lan:50055", "[::1]:7"],
    sys: ["hostname"],
  });
  assert.deepEqual(clientGrants(config, { write: ["/out"] }), {
    ...noGrants,
    read: files,
    write: ["/out"],
    net: ["b.lan:9"],
  });
});

Deno.test("a node reads what it serves and believes, and nothing else of the TLS directory", () => {
  const identity = { token: "/etc/token", nodeId: "/etc/node-id" };
  const made = ["/etc/token", "/etc/.token.new", "/etc/node-id", "/etc/.node-id.new"];
  assert.deepEqual(nodeGrants(config, ["/tls/server.crt", undefined], identity), {
    ...noGrants,
    read: ["/tls/server.crt", ...made, "/state/node"],
    write: [...made, "/state/node"],
    net: true,
    sys: ["hostname", "networkInterfaces", "statfs", "systemMemoryInfo", "loadavg"],
  });
  const withTasks = configOf({
    "peer.insecure": "false",
    "peer.client_ca_file": "/tls/bundle.crt",
    "node.coordinators": "a.lan",
  });
  assert.ok(nodeGrants(withTasks, [], identity).read.includes("/tls/bundle.crt"));
});

Deno.test("plaintext needs no files", () => {
  assert.deepEqual(clientGrants(configOf({})).read, []);
});
