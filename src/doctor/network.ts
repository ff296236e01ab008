/** The facts that need the network. Dials only named hosts and this host's own ports. */
import { createSocket } from "node:dgram";
import type { Socket } from "node:net";
import { joinHost, splitHost } from "../base/address.ts";
import type { Clock } from "../base/clock.ts";
import { addressesOf } from "../deno/host_addresses.ts";
import { PkiError } from "../pki/errors.ts";
import type { Certificate } from "../pki/x509/inspect.ts";
import type { Loaded } from "../tls/credentials.ts";
import { type ConnectionError, diagnose } from "../tls/diagnose.ts";
import type { PeerMode } from "../tls/mode.ts";
import { probeTcp, probeTls, type Shown } from "../tls/probe.ts";
import { checkChain } from "../tls/verify.ts";
import type { PortFacts, TargetFacts } from "./facts.ts";

/** A healthy host answers within milliseconds. */
const answerMs = 3_000;

export interface Target {
  address: string;
  from: string;
}

export interface Ways {
  /** The mode of gRPC connections; undefined if the settings allow none. */
  mode: PeerMode | undefined;
  loaded: Loaded;
  clock: Clock;
}

export async function targetFacts({ address, from }: Target, ways: Ways): Promise<TargetFacts> {
  const { host, port } = splitHost(address);
  const addresses = await addressesOf(host, port).catch(() => [] as string[]);
  const node = await nodeAt(address, ways);
  if (node !== undefined) return { address, from, addresses, ...node };
  const error = ways.mode === undefined
    ? undefined
    : await diagnose(address, ways.mode, ways.loaded, ways.clock);
  return {
    address,
    from,
    addresses,
    fault: faultOf(error),
    clockOffsetMs: undefined,
  };
}

function faultOf(error: ConnectionError | undefined): TargetFacts["fault"] {
  return error && { code: error.diagnosis, message: error.message, next: error.next };
}

/** A node answers /api/health without a token, over HTTPS or HTTP; undefined: it is no node. */
async function nodeAt(
  address: string,
  { loaded, clock }: Ways,
): Promise<Pick<TargetFacts, "fault" | "clockOffsetMs"> | undefined> {
  const secure = await healthOf("https", address);
  const plain = secure ?? await healthOf("http", address);
  if (plain === undefined) return undefined;
  const date = Date.parse(plain.date);
  // The header counts whole seconds.
  const offset = Number.isNaN(date) ? undefined : date - clock.now();
  const clockOffsetMs = offset === undefined || Math.abs(offset) < 2_000 ? 0 : offset;
  const at = `The node at "${address}"`;
  if (secure === undefined) {
    const fault = loaded.pair === undefined ? undefined : {
      code: "node_plaintext",
      message: `${at} serves without TLS, and this host has a certificate`,
      next: "agent tls enable there, and start the node without --no-tls",
    };
    return { fault, clockOffsetMs };
  }
  return { fault: chainFault(at, secure.chain, loaded, clock), clockOffsetMs };
}

function chainFault(
  at: string,
  [leaf, ...others]: Certificate[],
  { ca }: Loaded,
  clock: Clock,
): TargetFacts["fault"] {
  if (ca === undefined) {
    return {
      code: "nothing_trusted",
      message: `${at} speaks TLS, and this host trusts no CA to verify it with`,
      next: "agent tls install --ca FILE, with the file of agent tls export-ca there",
    };
  }
  try {
    if (leaf !== undefined) checkChain(leaf, others, ca.certificates, clock.now());
    return undefined;
  } catch (error) {
    if (!(error instanceof PkiError)) throw error;
    return {
      code: "node_certificate",
      message: `${at} presents a certificate that this host refuses: ${error.message}`,
      next: error.next ?? "agent tls status, on both hosts",
    };
  }
}

interface Health {
  date: string;
  /** The certificates that it presented over HTTPS. */
  chain: Certificate[];
}

/**
 * One request by hand: node:https reads the system's CAs, which this thread may not do, and Deno's
 * node:http ignores the connection that it is given. The certificate is verified afterwards, so that
 * the report can say what is wrong with it.
 */
async function healthOf(scheme: "https" | "http", address: string): Promise<Health | undefined> {
  const { host, port } = splitHost(address);
  const made: Shown | { socket: Socket; chain?: undefined } | { failure: string } =
    scheme === "https"
      ? await probeTls({ host, port, rejectUnauthorized: false, protocols: ["http/1.1"] })
      : await probeTcp(host, port);
  if ("failure" in made) return undefined;
  // A node refuses names that are not its own, but not this one.
  const request = "GET /api/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  const answer = await answerOf(made.socket, request);
  if (!/^HTTP\/1\.[01] 200 /.test(answer) || !/"role":"node"/.test(answer)) return undefined;
  const [, date = ""] = /^date: *(.*)$/im.exec(answer) ?? [];
  return { date, chain: made.chain ?? [] };
}

/** A node's answer is short: what is longer is not from a node. */
const maxAnswer = 10_000;

function answerOf(socket: Socket, request: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = "";
    const settle = () => {
      clearTimeout(impatience);
      socket.destroy();
      resolve(answer);
    };
    const impatience = setTimeout(settle, answerMs);
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => {
      answer += text;
      if (answer.length > maxAnswer) settle();
    });
    for (const end of ["end", "close", "error"]) socket.on(end, settle);
    socket.write(request);
  });
}

export interface OwnPort {
  role: "coordinator" | "node";
  setting: string;
  host: string;
  port: number;
}

/** Diagnoses after which a stranger listens there, and no coordinator. */
const strangers: ReadonlySet<string> = new Set(["not_a_coordinator", "handshake_failed"]);

/** What listens on a port of this host that a role would use; a role there is a target too. */
export async function portFacts(
  own: OwnPort,
  ways: Ways,
): Promise<{ port: PortFacts; target?: TargetFacts }> {
  const host = own.host === "0.0.0.0" ? "127.0.0.1" : own.host === "::" ? "::1" : own.host;
  const address = joinHost(host, own.port);
  const { role, setting } = own;
  const port = (state: PortFacts["state"]) => ({ role, setting, address, state });
  const tcp = await probeTcp(host, own.port);
  if ("failure" in tcp) return { port: port("free") };
  tcp.socket.destroy();
  const target = { address, from: `the local ${role}`, addresses: [host] };
  if (role === "node") {
    const node = await nodeAt(address, ways);
    return node === undefined
      ? { port: port("other") }
      : { port: port("agent"), target: { ...target, ...node } };
  }
  const { mode = { mode: "h2c" }, loaded, clock } = ways;
  const error = await diagnose(address, mode, loaded, clock);
  if (error !== undefined && strangers.has(error.diagnosis)) return { port: port("other") };
  // Without a mode the settings are at fault, which is a finding of its own.
  const fault = ways.mode === undefined ? undefined : faultOf(error);
  return { port: port("agent"), target: { ...target, fault, clockOffsetMs: undefined } };
}

/** The group and port of multicast DNS (RFC 6762, section 3). */
const group = "224.0.0.251";
const mdnsPort = 5353;
/** A packet to this host itself takes microseconds. */
const loopMs = 1_000;

/** Sends one mDNS question for agents, and waits until it comes back to this host. */
export function multicast(): Promise<"works" | "deaf" | "no_route"> {
  return new Promise((resolve) => {
    const socket = createSocket({ type: "udp4", reuseAddr: true });
    const settle = (found: "works" | "deaf" | "no_route") => {
      clearTimeout(timer);
      try {
        socket.close();
      } catch {
        // The socket was never open.
      }
      resolve(found);
    };
    const timer = setTimeout(() => settle("deaf"), loopMs);
    socket.on("error", () => settle("no_route"));
    socket.on("message", (data) => {
      if (question.every((byte, index) => data[index] === byte)) settle("works");
    });
    socket.bind(mdnsPort, () => {
      try {
        socket.addMembership(group);
        socket.send(question, mdnsPort, group, (error) => error && settle("no_route"));
      } catch {
        settle("no_route");
      }
    });
  });
}

/** PTR question for _agent._tcp.local (RFC 1035, section 4), with an id to recognise it by. */
const question = new Uint8Array([
  ...[0xa6, 0xe7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
  ...label("_agent"),
  ...label("_tcp"),
  ...label("local"),
  ...[0, 0, 12, 0, 1],
]);

function label(text: string): number[] {
  return [text.length, ...new TextEncoder().encode(text)];
}
