import assert from "node:assert/strict";
import { parseFile } from "./file.ts";
import { loadConfig, requireSound, type Sources } from "./load.ts";
import { type ConfigKey, configKeys, flagOf, schema, variableOf } from "./schema.ts";

const host = { hostname: "lab 1", cpus: 4, stateRoot: "/state", terminal: false };

function load(given: {
  flags?: Partial<Record<ConfigKey, string>>;
  variables?: Record<string, string>;
  yaml?: string;
}) {
  const sources: Sources = {
    flags: new Map(Object.entries(given.flags ?? {}) as [ConfigKey, string][]),
    variables: given.variables ?? {},
    file: given.yaml === undefined ? undefined : parseFile("/etc/agent/config.yaml", given.yaml),
    workingFolder: "/srv",
    host,
  };
  return loadConfig(sources);
}

/** The text of the first problem. */
function problem(given: Parameters<typeof load>[0]): string {
  const { problems } = load(given);
  assert.notEqual(problems.length, 0, `accepted: ${JSON.stringify(given)}`);
  return `${problems[0]!.message} | ${problems[0]!.next ?? ""}`;
}

Deno.test("every key has a default or none, and names that are its own", () => {
  const { config, problems } = load({});
  assert.deepEqual(problems, []);
  assert.deepEqual(new Set(Object.values(config.origins)), new Set(["default"]));
  assert.equal(config.values["worker.id"], "lab-1");
  assert.equal(config.values["worker.data_dir"], "/state/worker/lab-1");
  assert.equal(config.values["worker.slots"], 4);
  assert.equal(config.values["log.format"], "json");
  assert.equal(flagOf("peer.client_ca_file"), "peer.client-ca-file");
  assert.equal(variableOf("peer.client_ca_file"), "AGENT_PEER_CLIENT_CA_FILE");
  assert.equal(new Set(configKeys.map(variableOf)).size, configKeys.length);
  for (const key of configKeys) assert.match(schema[key].help, /^[A-Z].*[^.]$/, key);
});

Deno.test("flags win over the environment, that over the file, that over the default", () => {
  const yaml = "coordinator:\n  port: 1001\n  health_port: 1002\nlog: {level: warn}\n";
  const variables = { AGENT_COORDINATOR_PORT: "2001", AGENT_COORDINATOR_HEALTH_PORT: "2002" };
  const { values, origins } =
    load({ yaml, variables, flags: { "coordinator.port": "3001" } }).config;
  assert.equal(values["coordinator.port"], 3001);
  assert.equal(origins["coordinator.port"], "flag");
  assert.equal(values["coordinator.health_port"], 2002);
  assert.equal(origins["coordinator.health_port"], "environment");
  assert.equal(values["log.level"], "warn");
  assert.equal(origins["log.level"], "file");
  assert.equal(origins["log.format"], "default");
});

Deno.test("defaults follow the keys that they are made of", () => {
  const { values, origins } = load({
    flags: { "worker.id": "gpu1", "worker.coordinators": "a,b:1,[::1]:2,::1" },
  }).config;
  assert.equal(values["worker.data_dir"], "/state/worker/gpu1");
  assert.deepEqual(values["client.coordinators"], ["a:50055", "b:1", "[::1]:2", "[::1]:50055"]);
  assert.equal(origins["client.coordinators"], "default");
});

Deno.test("relative paths are meant from the folder of who wrote them", () => {
  const { values } = load({
    yaml: "peer: {cert_file: tls/a.crt}",
    flags: { "peer.key_file": "a.key" },
    variables: { AGENT_PEER_CLIENT_CA_FILE: "/ca.crt" },
  }).config;
  assert.equal(values["peer.cert_file"], "/etc/agent/tls/a.crt");
  assert.equal(values["peer.key_file"], "/srv/a.key");
  assert.equal(values["peer.client_ca_file"], "/ca.crt");
});

Deno.test("YAML lists, mappings and scalars are taken where they can be meant", () => {
  const { config, problems } = load({
    yaml: `
peer:
worker:
  coordinators: [a:1, "b:2"]
  labels: {gpu: no, cores: 8, zone: ""}
  id: 7
  slots:
  allow_commands:
    - /bin/sh
    - bin/true
`,
  });
  assert.deepEqual(problems, []);
  assert.deepEqual(config.values["worker.coordinators"], ["a:1", "b:2"]);
  assert.deepEqual(config.values["worker.labels"], { gpu: "no", cores: "8", zone: "" });
  assert.equal(config.values["worker.id"], "7");
  assert.equal(config.origins["worker.slots"], "default");
  assert.deepEqual(config.values["worker.allow_commands"], ["/bin/sh", "/etc/agent/bin/true"]);
});

Deno.test("a malformed value is one line that names key, place and what is wanted", () => {
  const flags = (key: ConfigKey, value: string) => problem({ flags: { [key]: value } });
  for (
    const [key, value, wanted] of [
      ["coordinator.port", "x", /^--coordinator.port is "x", must be a whole number from 0 to/],
      ["coordinator.port", "65536", /65535/],
      ["coordinator.port", "1e3", /whole number/],
      ["coordinator.port", "-1", /whole number/],
      ["coordinator.host", "myhost", /must be an IP address/],
      ["coordinator.host", "1.2.3", /must be an IP address/],
      ["coordinator.advertise", "a b", /"host" or "host:port"/],
      ["peer.insecure", "yes", /true, false, 1 or 0/],
      ["peer.cert_file", "", /not empty/],
      ["peer.cert_file", "a\0b", /without control characters/],
      ["peer.server_name", "a/b", /a host name or an IP address/],
      ["worker.coordinators", "", /comma-separated list/],
      ["worker.coordinators", "a:0", /comma-separated list/],
      ["worker.coordinators", "http://a:1", /comma-separated list/],
      ["worker.coordinators", "a:1:2", /comma-separated list/],
      ["worker.coordinators", "1.2.3:1", /comma-separated list/],
      ["worker.coordinators", "[a]:1", /comma-separated list/],
      ["worker.labels", "a", /"key=value"/],
      ["worker.labels", "a=1,a=2", /no key is given twice/],
      ["worker.labels", "a=b c", /"key=value"/],
      ["worker.id", "../x", /1 to 253 letters/],
      ["worker.id", ".", /1 to 253 letters/],
      ["worker.id", "a/b", /1 to 253 letters/],
      ["worker.slots", "0", /from 1/],
      ["log.level", "loud", /one of debug, info, warn, error/],
    ] as [ConfigKey, string, RegExp][]
  ) {
    const text = flags(key, value);
    assert.match(text, wanted);
    assert.doesNotMatch(text, /[\n\0]/);
  }
  assert.match(
    problem({ variables: { AGENT_WORKER_SLOTS: "many" } }),
    /^AGENT_WORKER_SLOTS is "many", must be a whole number/,
  );
  assert.match(
    problem({ yaml: "log:\n  # comment\n  level: loud\n" }),
    /^"log.level" in \/etc\/agent\/config.yaml:3 is "loud", must be one of/,
  );
});

Deno.test("what the file holds beyond the schema is a problem with the nearest name", () => {
  for (
    const [yaml, message] of [
      [
        "peer:\n  insecur: true",
        /^Unknown key "peer.insecur" in .*:2 \| Did you mean "peer.insecure"/,
      ],
      ["per: {}", /^Unknown section "per" in .*:1 \| Did you mean "peer"/],
      ["peer.insecure: true", /^Unknown section "peer.insecure".*Write it nested/],
      ["server: {url: x}", /^Unknown section "server"/],
      ["peer: true", /must be a mapping/],
      ["- a", /must be a mapping/],
      ["peer: {insecure: [1]}", /wrong type/],
      ["peer: {cert_file: 7}", /wrong type/],
      ["worker: {labels: {a: [1]}}", /wrong type/],
      ["peer: {insecure: true", /is not valid YAML/],
      ["peer: {}\npeer: {}", /is not valid YAML/],
      ["\tx", /must be a mapping/],
    ] as [string, RegExp][]
  ) assert.match(problem({ yaml }), message, yaml);
  assert.deepEqual(load({ yaml: "" }).problems, []);
  assert.deepEqual(load({ yaml: "# nothing\n" }).problems, []);
});

Deno.test("a value is checked also where a stronger source has set it", () => {
  const given = { flags: { "worker.slots": "1" }, variables: { AGENT_WORKER_SLOTS: "x" } } as const;
  assert.match(problem(given), /AGENT_WORKER_SLOTS/);
});

Deno.test("the first problem stops a start and tells how many more there are", () => {
  const loaded = load({ flags: { "worker.slots": "x", "log.level": "y" } });
  assert.throws(
    () => requireSound(loaded),
    /--worker.slots .* \(and 1 more: agent config check\)$/,
  );
});

Deno.test("a Kubernetes service link is no port, and unknown variables are listed", () => {
  const { config, problems, warnings, unknownVariables } = load({
    variables: {
      AGENT_COORDINATOR_PORT: "tcp://10.0.0.1:50055",
      AGENT_COORDINATOR_PORT_50055_TCP: "tcp://10.0.0.1:50055",
      AGENT_WORKER_SLOT: "3",
      AGENT_WORKER_ID: "",
      AGENT_DEBUG: "1",
    },
  });
  assert.deepEqual(problems, []);
  assert.equal(config.origins["coordinator.port"], "default");
  assert.equal(config.origins["worker.id"], "default");
  assert.equal(warnings.length, 1);
  assert.deepEqual(unknownVariables.map(({ name }) => name), [
    "AGENT_COORDINATOR_PORT_50055_TCP",
    "AGENT_WORKER_SLOT",
  ]);
  assert.equal(unknownVariables[1]!.nearest, "AGENT_WORKER_SLOTS");
});
