import assert from "node:assert/strict";
import type { Facts, FolderFacts, TargetFacts } from "./facts.ts";
import { findingsOf } from "./rules.ts";

const GiB = 2 ** 30;

function folder(change: Partial<FolderFacts> = {}): FolderFacts {
  return {
    setting: "coordinator.data_dir",
    path: "/var/lib/agent/coordinator",
    exists: true,
    writable: true,
    freeBytes: 50 * GiB,
    totalBytes: 100 * GiB,
    freeInodes: 1_000_000,
    ...change,
  };
}

const target: TargetFacts = {
  address: "hub.lan:50055",
  from: "named",
  addresses: ["10.0.0.1"],
  fault: undefined,
  clockOffsetMs: 0,
};

const now = Date.parse("2027-01-01T00:00:00Z");

/** A host on which nothing is wrong. */
const sound: Facts = {
  now,
  releasedOn: Date.parse("2026-11-22"),
  os: "linux",
  hostname: "gpu1",
  ownAddresses: ["10.0.0.2"],
  usableInterfaces: ["10.0.0.2"],
  hasProc: true,
  config: {
    file: "/etc/agent/config.yaml",
    problems: [],
    warnings: [],
    idle: undefined,
    unknownVariables: [],
    refused: [],
  },
  tls: { host: "peer", enabled: true, warnings: [] },
  token: { file: "/etc/agent/token", exists: true, mode: 0o100600 },
  folders: [folder()],
  ports: [{ role: "node", setting: "node.port", address: "127.0.0.1:8765", state: "agent" }],
  targets: [target],
  multicast: "works",
  cgroups: "writable",
  worker: { user: "tasks", isRoot: true },
  units: [{ role: "node", enabled: true }],
  hasSystemd: true,
};

Deno.test("on a sound host there is nothing to find", () => {
  assert.deepEqual(findingsOf(sound), []);
});

const tlsWarning = (code: string): Partial<Facts> => ({
  tls: { host: "peer", enabled: true, warnings: [{ code, message: code, command: `fix ${code}` }] },
});
const targetFault = (code: string): Partial<Facts> => ({
  targets: [{ ...target, fault: { code, message: code, next: `fix ${code}` } }],
});
const configured = (change: Partial<Facts["config"]>): Partial<Facts> => ({
  config: { ...sound.config, ...change },
});

const tlsProblems = [
  ...["damaged", "certificate_missing", "key_missing", "key_mismatch", "expired", "not_yet_valid"],
  ...["foreign_ca", "nothing_trusted", "unusable", "exposed"],
];
const tlsWarnings = ["expires_soon", "san_gap", "bundle_stale", "disabled", "previous_ca"];
const connectionFaults = [
  ...["name_not_found", "refused", "unreachable", "timeout", "plaintext_to_tls"],
  ...["tls_to_plaintext", "not_a_coordinator", "handshake_failed", "foreign_ca", "server_expired"],
  ...["name_mismatch", "client_certificate_missing", "client_certificate_refused"],
  ...["node_plaintext", "node_certificate", "nothing_trusted"],
];

/** One fault each: what it changes, and the finding. */
const faults: readonly (readonly [
  change: Partial<Facts>,
  code: string,
  severity: "problem" | "warning",
])[] = [
  [{ now: Date.parse("2020-01-01") }, "clock_before_release", "problem"],
  [{ hasProc: false }, "no_proc", "problem"],
  [configured({ problems: [{ message: "bad" }] }), "configuration", "problem"],
  [configured({ warnings: ["odd"] }), "configuration", "warning"],
  [configured({ idle: "TLS is off" }), "grpc_plaintext", "warning"],
  [configured({ unknownVariables: [{ name: "AGENT_X" }] }), "unknown_variable", "warning"],
  [configured({ refused: [{ role: "worker", message: "no" }] }), "role_refused", "problem"],
  [{ tls: { error: "unreadable", next: undefined } }, "tls_directory", "problem"],
  ...tlsProblems.map((code) => [tlsWarning(code), `tls_${code}`, "problem"] as const),
  ...tlsWarnings.map((code) => [tlsWarning(code), `tls_${code}`, "warning"] as const),
  [{ token: { ...sound.token, mode: 0o100644 } }, "token_readable", "problem"],
  [{ folders: [folder({ writable: false })] }, "folder_not_writable", "problem"],
  [{ folders: [folder({ freeBytes: 5 * GiB })] }, "disk_full", "problem"],
  [{ folders: [folder({ freeInodes: 10 })] }, "no_inodes", "problem"],
  [{ ports: [{ ...sound.ports[0]!, state: "other" }] }, "port_taken", "problem"],
  [{ ownAddresses: undefined }, "own_name_unknown", "warning"],
  [{ usableInterfaces: [] }, "no_network", "warning"],
  ...connectionFaults.map((code) => [targetFault(code), code, "problem"] as const),
  [{ targets: [{ ...target, clockOffsetMs: -30_000 }] }, "clock_differs", "warning"],
  [{ targets: [{ ...target, clockOffsetMs: 3_600_000 }] }, "clock_differs", "problem"],
  [{ multicast: "deaf" }, "multicast_deaf", "warning"],
  [{ multicast: "no_route" }, "multicast_no_route", "warning"],
  [{ cgroups: "read_only" }, "no_cgroups", "warning"],
  [{ cgroups: "v1" }, "no_cgroups", "warning"],
  [
    {
      tls: { host: "ca_holder", enabled: true, warnings: [] },
      worker: { user: undefined, isRoot: true },
    },
    "tasks_could_read_ca_key",
    "warning",
  ],
  [{ units: [{ role: "node", enabled: false }] }, "service_disabled", "warning"],
  [{ ports: [{ ...sound.ports[0]!, state: "free" }] }, "service_down", "problem"],
];

for (const [index, [change, code, severity]] of faults.entries()) {
  Deno.test(`fault ${index + 1}: ${code} is found, and nothing else`, () => {
    const found = findingsOf({ ...sound, ...change });
    assert.deepEqual(found.map((each) => [each.code, each.severity]), [[code, severity]]);
    assert.ok(found[0]!.next.length > 0);
  });
}

Deno.test("problems come before warnings, and there is no duplicate", () => {
  const found = findingsOf({ ...sound, multicast: "deaf", hasProc: false, cgroups: "v1" });
  assert.deepEqual(found.map(({ code }) => code), ["no_proc", "multicast_deaf", "no_cgroups"]);
});
