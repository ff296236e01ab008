import assert from "node:assert/strict";
import { namesFor, type PeerCertificates, planPeer, planSelf, type Wanted } from "./plan.ts";
import type { Facts, ServiceFacts } from "./preflight.ts";

const now = Date.parse("2027-01-01T00:00:00Z");
const ours = "AA:AA:AA:AA:AA:AA:AA:AA:AA";

/** A peer that has everything. */
const facts: Facts = {
  user: "root",
  uid: 0,
  root: "is",
  os: "Linux",
  arch: "x86_64",
  libc: "glibc",
  now,
  hostname: "b",
  fqdn: "b.lan",
  addresses: ["10.0.0.2"],
  configRoot: "/etc/agent",
  tlsRoot: "/etc/agent/tls",
  unwritable: undefined,
  readOnly: false,
  freeKiB: 1_000_000,
  binFreeKiB: 1_000_000,
  binUnwritable: false,
  noexec: false,
  agent: { path: "/usr/local/bin/agent", version: "0.1.0", sha256: "b1" },
  bin: "/usr/local/bin",
  caPem: undefined,
  certPem: undefined,
  hasCaKey: false,
  hasServerKey: true,
  enabled: true,
  tokenSha256: "t1",
  isUnfinished: false,
  peerInsecureSet: true,
  roles: [],
  formerRoles: [],
  services: [],
  serviceManager: "systemd",
};
const certificate = { byOurCa: true, names: ["b.lan"], role: undefined, due: false };
const present: PeerCertificates = { caFingerprint: ours, certificate };
const wanted: Wanted = {
  caFingerprint: ours,
  previousCas: ["PREVIOUS"],
  tokenSha256: "t1",
  binary: undefined,
  role: undefined,
  service: undefined,
  serviceFlags: undefined,
  force: false,
  allowDowngrade: false,
  now,
};
const binary = {
  ...{ sha256: "b2", bytes: 100 * 1024 * 1024, arch: "x86_64", libc: "glibc" } as const,
  version: "0.2.0",
};

interface Case {
  facts?: Partial<Facts>;
  present?: Partial<PeerCertificates>;
  wanted?: Partial<Wanted>;
}

function plan(change: Case) {
  return planPeer(
    { ...facts, ...change.facts },
    { ...present, ...change.present },
    { ...wanted, ...change.wanted },
    ["b.lan"],
  );
}

const noAgent = { agent: undefined, binUnwritable: false };
const service = (role: string, change: Partial<ServiceFacts> = {}) => [
  { role, down: false, args: [], ...change },
];
const user = { user: "ada", uid: 1000, root: "sudo" } as const;

const steps: [string, Case, string[]][] = [
  ["nothing differs", {}, []],
  ["no CA", { present: { caFingerprint: undefined } }, ["certificate (no CA yet)"]],
  ["renewed CA", { present: { caFingerprint: "PREVIOUS" } }, ["certificate (the CA was renewed)"]],
  [
    "another CA with --force",
    { present: { caFingerprint: "OTHER" }, wanted: { force: true } },
    ["certificate (another CA)"],
  ],
  ["no certificate", { present: { certificate: undefined } }, ["certificate (no certificate yet)"]],
  ["no key", { facts: { hasServerKey: false } }, ["certificate (the key is missing)"]],
  ["TLS off", { facts: { enabled: false } }, ["certificate (TLS is not enabled)"]],
  ["role", { wanted: { role: "worker" } }, ["certificate (another role)"]],
  ["no token", { facts: { tokenSha256: undefined } }, ["token (none there)"]],
  ["no executable", { facts: noAgent, wanted: { binary } }, ["executable (none there)"]],
  ["older executable", { wanted: { binary } }, ["executable (0.1.0 there, this is 0.2.0)"]],
  [
    "newer executable with --allow-downgrade",
    {
      facts: { agent: { ...facts.agent!, version: "0.10.0" } },
      wanted: { binary, allowDowngrade: true },
    },
    ["executable (0.10.0 there, this is 0.2.0)"],
  ],
  [
    "executable of an unknown version",
    {
      facts: { agent: { ...facts.agent!, version: "0.10.0" } },
      wanted: { binary: { ...binary, version: undefined } },
    },
    ["executable (another one there)"],
  ],
  [
    "another build",
    { wanted: { binary: { ...binary, version: "0.1.0" } } },
    ["executable (another build of 0.1.0 there)"],
  ],
  [
    "executable of a service that runs",
    { facts: { roles: ["worker"], services: service("worker") }, wanted: { binary } },
    [
      "executable (0.1.0 there, this is 0.2.0)",
      "restart (agent worker runs the former executable)",
    ],
  ],
  [
    "a restart that an earlier run did not come to",
    { facts: { roles: ["node"], formerRoles: ["node"], services: service("node") } },
    ["restart (agent node runs the former executable)"],
  ],
  [
    "a service that does not run",
    { facts: { services: service("node", { down: true }) } },
    ["restart (agent node does not run)"],
  ],
  [
    "a service of root, seen by another user",
    { facts: { ...user, roles: ["node"], services: service("node"), formerRoles: ["node"] } },
    [],
  ],
  [
    "other flags",
    {
      facts: { roles: ["worker"], services: service("worker", { args: ["--worker.slots=4"] }) },
      wanted: { service: "worker", serviceFlags: ["--worker.slots=8"] },
    },
    ["service (agent worker runs with other flags)"],
  ],
  ["a run that was cut off at its end", { facts: { isUnfinished: true } }, [
    "cleanup (an earlier run was cut off)",
  ]],
  ["plaintext by default", { facts: { peerInsecureSet: false } }, [
    "settings (peer.insecure=false)",
  ]],
  [
    "plaintext by default, and a worker runs",
    { facts: { peerInsecureSet: false, roles: ["worker"] } },
    [],
  ],
  [
    "plaintext by default, and there is no agent",
    { facts: { ...noAgent, peerInsecureSet: false } },
    [],
  ],
  ["no service", { wanted: { service: "node" } }, ["service (agent node does not run)"]],
  ["service runs", { facts: { roles: ["node"] }, wanted: { service: "node" } }, []],
  [
    "executable and service",
    { facts: noAgent, wanted: { binary, service: "node" } },
    ["executable (none there)", "service (agent node does not run)"],
  ],
];

for (const [name, change, expected] of steps) {
  Deno.test(`what differs is changed: ${name}`, () => {
    const found = plan(change);
    assert.ok("steps" in found, JSON.stringify(found));
    assert.deepEqual(found.steps.map(({ kind, why }) => `${kind} (${why})`), expected);
  });
}

const problems: [string, Case, RegExp][] = [
  ["another CA", { present: { caFingerprint: "OTHER" } }, /belongs to another CA/],
  ["a second CA holder", { facts: { hasCaKey: true } }, /holds the key of this same CA/],
  [
    "no right to write",
    { facts: { unwritable: "/etc cannot be written by ada" } },
    /written by ada/,
  ],
  ["clock", { facts: { now: now - 3_600_000 } }, /clock is 60 minutes behind/],
  ["disk", { facts: { freeKiB: 10 } }, /only 10 KiB are free/],
  ["architecture", { facts: { arch: "armv7l" }, wanted: { binary } }, /for Linux on x86_64/],
  ["musl", { facts: { libc: "musl" }, wanted: { binary } }, /musl/],
  [
    "newer executable",
    { facts: { agent: { ...facts.agent!, version: "0.10.0" } }, wanted: { binary } },
    /has agent 0\.10\.0, which is newer than the one to copy, 0\.2\.0/,
  ],
  ["noexec", { facts: { noexec: true }, wanted: { binary } }, /noexec/],
  [
    "folder of the executable",
    { facts: { binUnwritable: true }, wanted: { binary } },
    /cannot write/,
  ],
  ["service without agent", { facts: noAgent, wanted: { service: "node" } }, /no agent to run/],
  ["service without root", { facts: user, wanted: { service: "node" } }, /only root can install/],
];

for (const [name, change, expected] of problems) {
  Deno.test(`a problem is found before anything changes: ${name}`, () => {
    const found = plan(change);
    assert.ok("problems" in found, JSON.stringify(found));
    assert.match(found.problems.map(({ what }) => what).join("; "), expected);
    assert.ok(found.problems.every(({ next }) => next !== ""));
  });
}

Deno.test("the CA holder gets a service, and needs an executable for it", () => {
  assert.deepEqual(planSelf(facts, wanted), { steps: [] });
  assert.ok("steps" in planSelf(facts, { ...wanted, service: "node" }));
  assert.ok("problems" in planSelf({ ...facts, agent: undefined }, { ...wanted, service: "node" }));
});

Deno.test("a peer does not get names of other hosts", () => {
  const others = new Set(["hub.lan", "10.0.0.1"]);
  const claimed = { hostname: "hub.lan", fqdn: "b.lan", addresses: ["10.0.0.1", "fe80::1"] };
  assert.deepEqual(namesFor(["b"], claimed, others), { hostnames: ["b", "b.lan"], ips: [] });
});
