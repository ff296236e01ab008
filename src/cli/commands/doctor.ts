import { exitCode } from "../../base/errors.ts";
import { selfCommand } from "../../base/self.ts";
import { peerMode } from "../../config/peer_mode.ts";
import type { Config } from "../../config/schema.ts";
import { printable } from "../../base/printable.ts";
import type { LocalFacts } from "../../doctor/local.ts";
import type { OwnPort, Target } from "../../doctor/network.ts";
import { identityFiles } from "../../pki/directory/identity_files.ts";
import { joinHost, splitHost } from "../../base/address.ts";
import { command, type Request } from "../command.ts";
import { colors } from "../output/terminal.ts";

export default command({
  path: "doctor",
  summary: "Find what keeps this host from working, and how to fix it",
  description:
    "Looks at the configuration, the certificates, the files, the clock, the disk, this " +
    "host's ports and names, multicast, and the coordinators and nodes that it is configured to " +
    "use or that are named. Changes nothing.",
  args: [{ name: "HOST:PORT", help: "Another coordinator or node to check", repeat: true }],
  options: {
    bundle: {
      kind: "path",
      placeholder: "FILE",
      help: "Write findings and settings to FILE, for a report; it contains no secrets",
    },
  },
  config: ["coordinator", "worker", "client", "node", "peer", "server", "log"],
  lenient: true,
  examples: [
    { line: "agent doctor", does: "Check this host" },
    { line: "agent doctor hub.lan:50055 gpu1.lan:8765", does: "And whether it can reach these" },
    { line: "agent doctor --bundle report.json", does: "For a report; it contains no secrets" },
  ],
  exits: { 3: "It found a problem" },
  prepare: async (request) => {
    const { localFacts } = await import("../../doctor/local.ts");
    const { releasedOn } = await import("../../base/version.ts");
    const { hasSystemd } = await import("../../service/systemd.ts");
    return localFacts({
      config: request.config,
      findings: request.findings!,
      tls: await tlsStatus(),
      tokenFile: identityFiles(request.env).token,
      releasedOn,
      hasSystemd: hasSystemd(),
      now: request.env.clock.now(),
    });
  },
  grants: ({ args, config, options }) => {
    const { values } = config;
    const files = ["peer.cert_file", "peer.key_file", "peer.client_ca_file"] as const;
    return {
      read: files.flatMap((key) => values[key] ?? []),
      write: options.bundle === undefined ? [] : [options.bundle],
      net: [
        ...targetsOf(args, config).map(({ address }) => address),
        ...portsOf(config).map(({ host, port }) => joinHost(dialled(host), port)),
        "0.0.0.0:5353",
        "224.0.0.251:5353",
      ],
      sys: ["hostname", "networkInterfaces"],
      run: [],
      env: [],
    };
  },
  run: async (request) => {
    const { findingsOf } = await import("../../doctor/rules.ts");
    const facts = await gather(request);
    const findings = findingsOf(facts);
    if (request.options.bundle !== undefined) {
      const { bundleOf } = await import("../../doctor/bundle.ts");
      const text = JSON.stringify(bundleOf(facts, findings, request.config), null, 2);
      await Deno.writeTextFile(request.options.bundle, `${text}\n`, { mode: 0o600 });
    }
    return {
      findings,
      checked: facts.targets.map(({ address, fault }) => ({ address, ok: fault === undefined })),
      bundle: request.options.bundle ?? null,
    };
  },
  exit: ({ findings }) =>
    findings.some(({ severity }) => severity === "problem") ? exitCode.attention : exitCode.done,
  text: ({ findings, checked, bundle }, { env }) => {
    const paint = colors(env.stdout);
    const marks = { problem: paint.red("✗"), warning: paint.yellow("!") };
    const problems = findings.filter(({ severity }) => severity === "problem").length;
    return [
      ...findings.flatMap(({ severity, what, next }) => [
        `${marks[severity]} ${printable(what)}`,
        `    ${printable(next)}`,
      ]),
      ...checked.filter(({ ok }) => ok).map(({ address }) =>
        `${paint.green("✓")} ${address} works`
      ),
      ...bundle === null ? [] : [`Wrote ${bundle}`],
      findings.length === 0
        ? paint.green("Nothing is wrong.")
        : `${problems} to fix, ${findings.length - problems} to look at`,
    ].join("\n");
  },
});

/** The report of another process: what talks to the network must not be able to read the CA's key. */
async function tlsStatus(): Promise<LocalFacts["tls"]> {
  const { tlsFacts } = await import("../../doctor/local.ts");
  const { command, args } = selfCommand();
  const ran = await new Deno.Command(command, {
    args: [...args, "tls", "status", "--check", "--json"],
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const out = text(ran.stdout);
  if (out.startsWith("{")) return tlsFacts(out);
  try {
    const { error } = JSON.parse(text(ran.stderr));
    return { error: error.message, next: error.next };
  } catch {
    return { error: text(ran.stderr).trim(), next: "agent tls status" };
  }
}

type DoctorRequest = Request & {
  env: { clock: import("../../base/clock.ts").Clock };
};

async function gather({ args, config, env, prepared }: DoctorRequest) {
  const { multicast, portFacts, targetFacts } = await import("../../doctor/network.ts");
  const { usableInterfaces } = await import("../../base/interfaces.ts");
  const { addressesOf } = await import("../../deno/host_addresses.ts");
  const local = prepared as LocalFacts;
  const ways = { ...await waysOf(config), clock: env.clock };
  const ports = await Promise.all(portsOf(config).map((own) => portFacts(own, ways)));
  const running = ports.flatMap(({ target }) => target ?? []);
  const others = targetsOf(args, config)
    .filter(({ address }) => !running.some((each) => each.address === address));
  const dialled = await Promise.all(others.map((target) => targetFacts(target, ways)));
  return {
    ...local,
    ownAddresses: await addressesOf(local.hostname, 0).catch(() => undefined),
    usableInterfaces: usableInterfaces(Deno.networkInterfaces()).map(({ address }) => address),
    ports: ports.map(({ port }) => port),
    targets: [...dialled, ...running],
    multicast: config.values["node.mdns"] ? await multicast() : "not_tried" as const,
  };
}

/** How this host speaks gRPC as a client; files that cannot be used are found elsewhere. */
async function waysOf(config: Config) {
  const { readCredentials } = await import("../../tls/credentials.ts");
  const nothing = { pair: undefined, ca: undefined };
  try {
    const mode = peerMode(config, "client");
    if (mode.mode === "h2c") return { mode, loaded: nothing };
    return { mode, loaded: (await readCredentials(mode)).loaded() };
  } catch {
    return { mode: undefined, loaded: nothing };
  }
}

/** What was named, and what is configured rather than a default. */
function targetsOf(args: string[], { values, origins }: Config): Target[] {
  const named = args.map((address) => ({
    address: /:\d+$/.test(address) ? address : joinHost(address, values["node.port"]),
    from: "named",
  }));
  const configured = (["worker.coordinators", "client.coordinators", "node.coordinators"] as const)
    .filter((key) => origins[key] !== "default")
    .flatMap((key) => values[key].map((address) => ({ address, from: key })));
  const peers = values["node.peers"].map((address) => ({ address, from: "node.peers" }));
  const all = [...named, ...configured, ...peers];
  return all.filter(({ address }, at) => all.findIndex((each) => each.address === address) === at)
    .filter(({ address }) => splitHost(address).port > 0);
}

function portsOf({ values }: Config): OwnPort[] {
  return (["coordinator", "node"] as const).map((role) => ({
    role,
    setting: `${role}.port`,
    host: values[`${role}.host`],
    port: values[`${role}.port`],
  })).filter(({ port }) => port > 0);
}

function dialled(host: string): string {
  return host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host;
}
