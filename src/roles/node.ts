import { randomBytes } from "node:crypto";
import type { Env } from "../base/env.ts";
import { appearance } from "../base/fs/appearance.ts";
import { messageOf } from "../base/errors.ts";
import { measureEventLoopLag } from "../base/event_loop_lag.ts";
import { removeIfThere, writeFileAtomic } from "../base/fs/atomic_file.ts";
import { makeDataDirectory } from "../base/fs/data_directory.ts";
import { aborted, every, together } from "../base/lifetimes.ts";
import { createLog, logText } from "../base/log.ts";
import { version } from "../base/version.ts";
import type { Config } from "../config/schema.ts";
import { EventLog } from "../http/events.ts";
import { gauge, lagGauge, serveHealth } from "../http/health.ts";
import { type HttpServer, serveHttp } from "../http/server.ts";
import { ownAddresses } from "../mesh/addresses.ts";
import type { Node } from "../mesh/api/context.ts";
import { publishEvents } from "../mesh/api/events.ts";
import { loginMs, loginUrl } from "../mesh/api/session.ts";
import { discover } from "../mesh/discovery.ts";
import { readNodeId, readToken, tokenIn } from "../mesh/identity.ts";
import { sessionFile } from "../mesh/kept_sessions.ts";
import { openKnownPeers } from "../mesh/known_peers.ts";
import { Membership } from "../mesh/membership.ts";
import type { NodeFacts } from "../mesh/protocol.ts";
import { Pull } from "../mesh/pull.ts";
import { trustedProxies } from "../mesh/request_facts.ts";
import { nodeHandler } from "../mesh/server.ts";
import { Sessions } from "../mesh/sessions.ts";
import { CallerCertificates } from "../mesh/trust.ts";
import { assets } from "../web/assets.ts";
import { printReady } from "./banner.ts";
import { roleEntry } from "./entry.ts";
import { hostLoads } from "./host_facts.ts";
import { type NodeCoordinators, openCoordinators } from "./node_coordinators.ts";
import { type NodeCredentials, openNodeCredentials } from "./node_credentials.ts";
import { localUrl, urlFile } from "./local_node.ts";
import { type NodeTls, type ReceivedTls, receiveTls } from "./node_tls.ts";

/** A few hundred nodes, their users' browsers, and room for a careless scanner. */
const connections = { total: 2_000, perAddress: 1_000, pendingMs: 10_000 };
/** Browsers and peers send the next request within this time; proxies also use a minute. */
const idleMs = 60_000;
/** Time for the largest body (2 MiB) over a slow line. */
const bodyMs = 60_000;
/** Time for open answers when the node stops. */
const graceMs = 3_000;
/** Interfaces and load are read this often: hundreds of nodes ask for them. */
const factsMs = 1_000;
/** How soon a rotated token is used, and how often new members are stored. */
const lookMs = 1_000;
const expiredLogMs = 60_000;
/** Every 50 ms, as busier roles do, is a tenth of what an idle node costs. */
const lagLookMs = 250;

/** Serves the API and the UI, and keeps in touch with the other nodes, until the signal aborts. */
async function serveNode(config: Config, env: Env, port: MessagePort): Promise<void> {
  const { values } = config;
  const told = await receiveTls(port, env.signal);
  const { tls } = told;
  await using open = new AsyncDisposableStack();
  makeDataDirectory({
    path: values["node.data_dir"],
    sign: "members.json",
    mode: 0o700,
    setting: "node.data_dir",
  });
  const lag = open.use(measureEventLoopLag(lagLookMs));
  const credentials = open.use(await openNodeCredentials(tls, env));
  const token = followToken(tls.tokenFile);
  const own = ownFacts(config, tls.nodeIdFile);
  const coordinators = await openCoordinators(config, env, open);
  const parts: Parts = { config, env, told, credentials, token, own, coordinators };
  const { node, pull, known } = assemble(parts);
  const server = open.use(
    await serveHttp({
      host: values["node.host"],
      port: values["node.port"],
      setting: "--port",
      ...(tls.serve === undefined ? {} : { tls: credentials.material() }),
      connections,
      idleMs,
      bodyMs,
      handle: nodeHandler(node, assets),
    }),
  );
  own.listening(server.port);
  credentials.onChange((material) => server.setMaterial(material));
  const health = open.use(
    await serveHealth({
      host: values["node.health_host"],
      port: values["node.health_port"],
      setting: "node.health_port",
      trouble: () => env.signal.aborted ? "it is stopping" : credentials.trouble(),
      metrics: () => [...nodeMetrics(node), lagGauge(lag.longestSeconds())],
    }),
  );
  announce({ config, env, tls, node, server, credentials, health: health.address });
  open.use(tellUrl(values["node.data_dir"], localUrl(server.address, tls.serve !== undefined)));
  const look = () => {
    known.save(node.membership, env.clock.monotonic());
    if (token.look()) node.sessions.closeAll();
  };
  await together(
    env.signal,
    (signal) => stopServing(node, server, signal),
    (signal) => lookAfter(look, env, signal),
    (signal) => credentials.follow(signal),
    (signal) => publishEvents(node, signal),
    (signal) => logExpiry(credentials, env, signal),
    (signal) => pull?.serve(signal) ?? aborted(signal),
    (signal) => findOthers(parts, pull, server.port, signal),
  );
  known.save(node.membership, env.clock.monotonic());
}

/** Writes the address for commands on this host while the node runs. */
function tellUrl(folder: string, url: string): Disposable {
  const file = urlFile(folder);
  writeFileAtomic(file, `${url}\n`, 0o600);
  return { [Symbol.dispose]: () => removeIfThere(file) };
}

/** The parts of a node before it listens. */
interface Parts {
  config: Config;
  env: Env;
  told: ReceivedTls;
  credentials: NodeCredentials;
  token: ReturnType<typeof followToken>;
  own: ReturnType<typeof ownFacts>;
  coordinators: NodeCoordinators;
}

function assemble({ config, env, told, credentials, token, own, coordinators }: Parts) {
  const { values } = config;
  const membership = new Membership(own.identity);
  const known = openKnownPeers(values["node.data_dir"], membership, env.log);
  const cluster = values["node.cluster"];
  const isPlain = told.tls.serve === undefined;
  const pull = cluster === undefined ? undefined : new Pull({
    membership,
    cluster,
    staticPeers: values["node.peers"],
    addresses: () => own.facts().addresses,
    client: credentials.client,
    bearer: isPlain && !values["node.no_auth"] ? token.current : undefined,
    clock: env.clock,
    log: env.log,
  });
  const node: Node = {
    membership,
    own: () => ({
      facts: own.facts(),
      firstSeen: own.startedAt,
      certificate: credentials.observed(),
      change: told.change(),
    }),
    sessions: new Sessions({
      clock: env.clock,
      token: token.current,
      file: sessionFile(values["node.data_dir"], env.log),
    }),
    noAuth: values["node.no_auth"],
    tls: !isPlain,
    url: () => `${isPlain ? "http" : "https"}://${own.facts().addresses[0]}/`,
    hostNames: () => hostNames(config, credentials),
    isProxy: trustedProxies(values["node.trusted_proxies"]),
    certificates: new CallerCertificates(),
    roots: credentials.roots,
    coordinators: values["node.coordinators"],
    ...coordinators,
    events: new EventLog(own.identity.instance),
    client: credentials.client,
    canSignOn: credentials.canSignOn,
    asked: (by, remote) => pull?.asked(by, remote),
    forgotten: () => known.save(membership, env.clock.monotonic()),
    clock: env.clock,
    log: env.log,
  };
  return { node, pull, known };
}

/** Streams end first, then answers have a moment to finish. */
async function stopServing(node: Node, server: HttpServer, signal: AbortSignal): Promise<void> {
  await aborted(signal);
  node.log.info("stopping");
  node.events.close();
  await server.stop(graceMs);
}

/** Writes what has changed, and notices a new token. */
function lookAfter(look: () => void, env: Env, signal: AbortSignal): Promise<void> {
  return every({
    periodMs: lookMs,
    coarse: true,
    clock: env.clock,
    signal,
    failed: (error) => env.log.warn("could not keep the state", { reason: messageOf(error) }),
  }, look);
}

async function findOthers(
  { config, env, told, own }: Parts,
  pull: Pull | undefined,
  port: number,
  signal: AbortSignal,
): Promise<void> {
  const cluster = config.values["node.cluster"];
  if (pull === undefined || cluster === undefined || !config.values["node.mdns"]) return;
  await discover({
    id: own.identity.id,
    cluster,
    tls: told.tls.serve !== undefined,
    port,
    version,
    interfaces: networkInterfaces,
    clock: env.clock,
    log: env.log,
    found: (addresses) => pull.found(addresses),
  }, signal);
}

function ownFacts({ values }: Config, nodeIdFile: string) {
  const identity = { id: readNodeId(nodeIdFile), instance: randomBytes(8).toString("hex") };
  const startedAt = Date.now();
  let port = values["node.port"];
  const listen = () => ({
    host: values["node.host"],
    port,
    advertise: values["node.advertise"],
  });
  const hostLoad = hostLoads();
  const read = (): NodeFacts => ({
    ...identity,
    name: values["node.name"],
    cluster: values["node.cluster"] ?? null,
    version,
    addresses: ownAddresses(listen(), networkInterfaces()),
    started_at: startedAt,
    ...hostLoad(),
  });
  let facts: NodeFacts | undefined;
  let readAt = -Infinity;
  return {
    identity,
    startedAt,
    listening: (real: number) => {
      port = real;
      facts = undefined;
    },
    facts: (): NodeFacts => {
      const now = performance.now();
      if (facts === undefined || now - readAt > factsMs) {
        facts = read();
        readAt = now;
      }
      return facts;
    },
  };
}

function networkInterfaces() {
  return Deno.networkInterfaces().map(({ name, family, address }) => ({ name, family, address }));
}

/** Names by which browsers may reach this node; IP addresses always may. */
function hostNames({ values }: Config, credentials: NodeCredentials): string[] {
  return [
    ...credentials.hostnames(),
    values["node.name"],
    Deno.hostname(),
    ...values["node.allowed_hosts"],
    ...values["node.advertise"].map((each) => each.replace(/:\d+$/, "")),
  ];
}

function followToken(file: string) {
  let seen = appearance([file]);
  let current = readToken(file);
  return {
    current: () => current,
    /** @returns whether it was replaced. */
    look: () => {
      const now = appearance([file]);
      if (now === seen) return false;
      const next = tokenIn(file);
      // Keep the current token if the file is missing or incomplete.
      if (next === undefined) return false;
      seen = now;
      if (next === current) return false;
      current = next;
      return true;
    },
  };
}

interface Announced {
  config: Config;
  env: Env;
  tls: NodeTls;
  node: Node;
  server: HttpServer;
  credentials: NodeCredentials;
  health: string;
}

/** The banner, the login URL, and the ready line. */
function announce(
  { config, env, tls, node, server, credentials, health }: Announced,
): void {
  const { values, origins } = config;
  const { facts } = node.own();
  env.log.info("starting", {
    role: "node",
    version,
    node: facts.id,
    name: facts.name,
    cluster: values["node.cluster"],
    listen: server.address,
    advertise: facts.addresses.join(","),
    health,
    tls: tls.serve === undefined ? "off" : "on",
    tls_from: tls.serve?.from ?? origins["node.tls"],
    cert: tls.serve?.certFile,
    ca: credentials.roots().length === 0 ? undefined : tls.bundle,
    certificate_ends: credentials.certificate()?.notAfter.toISOString(),
    auth: node.noAuth ? "none" : "token",
    data_dir: values["node.data_dir"],
    config_file: config.file,
  });
  if (node.noAuth) env.log.warn("anyone who can reach this node may use it (--no-auth)");
  const { url } = loginUrl(node, loginMs);
  const write = (line: string) => void env.stderr.write(line).catch(() => {});
  if (values["log.format"] === "text") {
    write(logText("open", { url }) + "\n");
  } else {
    createLog({ level: "info", format: "json", now: () => env.clock.now(), write })
      .info("open", { url });
  }
  printReady(env, config, { role: "node", address: server.address });
}

/** An expired certificate is still served, so that it can be replaced remotely. */
async function logExpiry(
  credentials: NodeCredentials,
  env: Env,
  signal: AbortSignal,
): Promise<void> {
  await every({ periodMs: expiredLogMs, clock: env.clock, signal, failed: () => {} }, () => {
    const reason = credentials.trouble();
    if (reason !== undefined) env.log.error("not ready", { reason, next: "agent tls renew" });
  });
}

function nodeMetrics({ membership, events, clock }: Node) {
  const counts: Record<string, number> = { reachable: 0, unreachable: 0, conflict: 0 };
  for (const member of membership.members.values()) {
    counts[membership.reach(member, clock.monotonic())]!++;
  }
  return [
    gauge("node_members", "Other nodes of the cluster, by state.", {
      label: "state",
      values: counts,
    }),
    gauge(
      "node_cut_off",
      "1 while most other nodes vanished at once.",
      membership.cutOff(clock.monotonic()) ? 1 : 0,
    ),
    gauge("node_event_streams", "Browsers that follow events.", events.readers),
  ];
}

roleEntry(serveNode);
