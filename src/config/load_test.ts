import assert from "node:assert/strict";
import { parseFile } from "./file.ts";
import { loadConfig, requireSound, type Sources } from "./load.ts";
import { type ConfigKey, configKeys, flagOf, schema, variableOf, variablesOf } from "./schema.ts";

const host = { hostname: "lab 1", cpus: 4, stateRoot: "/state", terminal: false };

function load(given: {
  flags?: Partial<Record<ConfigKey, string | string[]>>;
  variables?: Record<string, string>;
  yaml?: string;
}) {
  const sources: Sources = {
    flags: new Map(Object.entries(given.flags ?? {}) as [ConfigKey, string | string[]][]),
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
  const variables = configKeys.flatMap(variablesOf);
  assert.equal(new Set(variables).size, variables.length);
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

Deno.test("numbers and booleans in YAML keep the form in which they are written", () => {
  const { config, problems } = load({
    yaml: `
peer: {insecure: True}
worker:
  labels: {cuda: 12.10, serial: 007, on: yes, 1.10: 1e3, empty: "", date: 2026-01-02, nil: "null"}
  id: 1e3
node: {name: 0x10, cluster: "~", peers: [a, "b,c"]}
`,
  });
  assert.deepEqual(problems.map(({ message }) => message), [
    '"node.peers" in /etc/agent/config.yaml is "a,b,c", must be a comma-separated list; ' +
    'each item must be "host:port"',
  ], "items of a YAML list are not split");
  assert.equal(config.values["peer.insecure"], true);
  assert.deepEqual(config.values["worker.labels"], {
    cuda: "12.10",
    serial: "007",
    on: "yes",
    "1.10": "1e3",
    empty: "",
    date: "2026-01-02",
    nil: "null",
  });
  assert.equal(config.values["worker.id"], "1e3");
  assert.equal(config.values["node.name"], "0x10");
  assert.equal(config.values["node.cluster"], "~");
  assert.match(problem({ yaml: "coordinator: {port: 1e3}" }), /is "1e3", must be a whole number/);
});

Deno.test("a list is a repeated flag, items after commas, or both", () => {
  const { config } = load({
    flags: { "node.peers": ["a", "b:1,c"], "worker.labels": ["a=1", "b=2"] },
    variables: { AGENT_NODE_ADVERTISE: "x,y:2", AGENT_NODE_TRUSTED_PROXIES: "10.0.0.0/8, ::1" },
  });
  assert.deepEqual(config.values["node.peers"], ["a:8765", "b:1", "c:8765"]);
  assert.deepEqual(config.values["worker.labels"], { a: "1", b: "2" });
  assert.deepEqual(config.values["node.advertise"], ["x", "y:2"]);
  assert.deepEqual(config.values["node.trusted_proxies"], ["10.0.0.0/8", "::1"]);
  assert.deepEqual(config.values["node.allowed_hosts"], []);
});

Deno.test("mDNS is off for a loopback host, and NO_AUTH=1 opens a node", () => {
  const node = (flags: Partial<Record<ConfigKey, string>>, variables = {}) => {
    const { values } = load({ flags, variables }).config;
    return [values["node.mdns"], values["node.no_auth"], values["node.tls"]];
  };
  assert.deepEqual(node({}), [false, false, undefined]);
  assert.deepEqual(node({ "node.host": "::1" }), [false, false, undefined]);
  assert.deepEqual(node({ "node.host": "0.0.0.0", "node.tls": "true" }), [true, false, true]);
  assert.deepEqual(node({}, { NO_AUTH: "1" }), [false, true, undefined]);
  assert.deepEqual(node({}, { NO_AUTH: "1", AGENT_NODE_NO_AUTH: "false" }), [
    false,
    false,
    undefined,
  ]);
  assert.deepEqual(node({}, { NO_AUTH: "" }), [false, false, undefined]);
  assert.match(problem({ variables: { NO_AUTH: "yes" } }), /^NO_AUTH is "yes", must be true/);
});

Deno.test("a host name that is no worker id still gives one", () => {
  for (
    const [hostname, id] of [["lab 1", "lab-1"], [".x", "x"], ["", "worker"], ["...", "worker"]]
  ) {
    const sources = { flags: new Map(), variables: {}, file: undefined, workingFolder: "/" };
    const { config } = loadConfig({ ...sources, host: { ...host, hostname: hostname! } });
    assert.equal(config.values["worker.id"], id);
  }
});

Deno.test("a malformed value is one line that names key, place and what is wanted", () => {
  const flags = (key: ConfigKey, value: string) => problem({ flags: { [key]: value } });
  for (
    const [key, value, wanted] of [
      ["coordinator.port", "x", /^"--coordinator.port" is "x", must be a whole number from 0 to/],
      ["coordinator.port", "65536", /65535/],
      ["coordinator.port", "1e3", /whole number/],
      ["coordinator.port", "-1", /whole number/],
      ["coordinator.host", "myhost", /must be an IP address/],
      ["coordinator.host", "1.2.3", /must be an IP address/],
      ["coordinator.advertise", "a b", /"host" or "host:port"/],
      ["coordinator.advertise", "0.0.0.0:1", /that others can dial/],
      ["node.advertise", "a,::", /each item must be "host" or "host:port" that others can dial/],
      ["peer.insecure", "yes", /true, false, 1 or 0/],
      ["peer.cert_file", "", /a path/],
      ["peer.cert_file", "a\0b", /a path/],
      ["peer.server_name", "a/b", /a host name or an IP address/],
      ["worker.coordinators", "", /a list of at least one item/],
      ["worker.coordinators", "a:0", /comma-separated list/],
      ["worker.coordinators", "http://a:1", /comma-separated list/],
      ["worker.coordinators", "a:1:2", /comma-separated list/],
      ["worker.coordinators", "1.2.3:1", /comma-separated list/],
      ["worker.coordinators", "[a]:1", /comma-separated list/],
      ["worker.labels", "a", /each item must be KEY=VALUE/],
      ["worker.labels", "a=1,a=2", /sets "a" only once/],
      ["worker.labels", "a=b c", /KEY=VALUE/],
      ["worker.id", "../x", /1 to 253 letters/],
      ["worker.id", ".", /1 to 253 letters/],
      ["worker.id", "a/b", /1 to 253 letters/],
      ["worker.slots", "0", /from 1/],
      ["worker.user", "a\nb", /one line of text/],
      ["node.cluster", "", /one line of text/],
      ["node.trusted_proxies", "10.0.0.0/40", /an IP address or a network/],
      ["node.peers", "a:b", /each item must be "host:port"/],
      ["server.url", "gpu1:8765", /an address such as "https:/],
      ["server.url", "https://a:b@gpu1", /is "https:\/\/…@gpu1", must be an address such as/],
      ["server.url", "https://gpu1/agent", /is "https:\/\/gpu1\/agent", must be an address/],
      ["server.url", "https://gpu1/?token=abc", /is "https:\/\/gpu1\/\?…", must be an address/],
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
      ["srver: {url: x}", /^Unknown section "srver"/],
      ["peer: true", /must be a mapping/],
      ["- a", /must be a mapping/],
      ["peer: {insecure: [1]}", /wrong type/],
      ["peer: {cert_file: {a: b}}", /wrong type/],
      ["worker: {coordinators: {a: b}}", /wrong type/],
      ["worker: {coordinators: [a, ]b}", /is not valid YAML/],
      ["worker: {coordinators: [a, [b]]}", /wrong type/],
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
    /--worker.slots" .* \(and 1 more: agent config check\)$/,
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
