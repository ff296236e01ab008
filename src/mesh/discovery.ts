/**
 * Discovery by multicast DNS: service `_agent._tcp`, instance name = node id, TXT `id`, `cluster`,
 * `tls`, `v`. Everything that is heard is a hint: it says whom to ask, the answer over TLS decides.
 *
 * There is one responder for each interface, since one socket sends on one interface only. They are
 * rebuilt when the interfaces change: a socket whose interface has gone down stays deaf, and a record
 * that was published without a network has no addresses.
 */
import { Bonjour } from "bonjour-service"; // the mDNS responder and browser
import { createSocket, type Socket } from "node:dgram";
import { joinHost } from "../base/address.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { every } from "../base/lifetimes.ts";
import type { Log } from "../base/log.ts";
import { type Interface, usableInterfaces } from "../base/interfaces.ts";
import { maxPacketBytes, PacketFilter } from "./packet_filter.ts";
import { limits } from "./protocol.ts";

export interface DiscoveryOptions {
  id: string;
  cluster: string;
  tls: boolean;
  port: number;
  version: string;
  interfaces: () => Interface[];
  clock: Clock;
  log: Log;
  /** Called with the addresses of another node of the same cluster. */
  found: (addresses: string[]) => void;
}

/** Interfaces are compared this often: discovery is back well within 5 s of a change. */
const lookMs = 2_000;
/** Questions are repeated: one may be lost, and answers of others are not kept. */
const askMs = 60_000;
/** Addresses of one advert that are tried. */
const maxAddresses = 8;

/** Advertises this node and looks for others until the signal aborts. */
export async function discover(options: DiscoveryOptions, signal: AbortSignal): Promise<void> {
  let responders: Responder[] = [];
  let shape = "";
  let askedAt = -Infinity;
  await every({
    periodMs: lookMs,
    coarse: true,
    clock: options.clock,
    signal,
    failed: (error) => options.log.warn("discovery failed", { reason: messageOf(error) }),
  }, () => {
    const usable = usableInterfaces(options.interfaces())
      .filter(({ family }) => family === "IPv4");
    const next = usable.map(({ name, address }) => `${name} ${address}`).sort().join();
    const now = options.clock.monotonic();
    if (next !== shape || responders.some(({ isBroken }) => isBroken())) {
      for (const responder of responders) responder.close();
      shape = next;
      responders = usable.map(({ address }) => openResponder(address, options));
      askedAt = now;
    } else if (now - askedAt > askMs) {
      askedAt = now;
      for (const responder of responders) responder.ask();
    }
  });
  for (const responder of responders) responder.close();
}

interface Responder {
  ask(): void;
  isBroken(): boolean;
  close(): void;
}

/** The parts of bonjour-service that its types hide. */
interface Inside {
  server: { mdns: Emitter };
}
interface Emitter {
  emit: (...args: unknown[]) => boolean;
  on(event: string, listener: (error: Error) => void): void;
}

function openResponder(address: string, options: DiscoveryOptions): Responder {
  const { id, cluster, tls, port, version, log } = options;
  let broken = false;
  const failed = (error: Error) => {
    // Until the interfaces change, sending may fail; that is no reason to end or to rebuild.
    log.debug("multicast failed", { address, reason: error.message });
  };
  // Without `bind` to all addresses a socket on one interface receives no multicast.
  const filter = new PacketFilter(options.clock);
  const socket = openSocket(filter);
  const settings = { interface: address, bind: "0.0.0.0", socket } as unknown as object;
  const bonjour = new Bonjour(settings, failed);
  const { mdns } = (bonjour as unknown as Inside).server;
  mdns.on("warning", failed);
  mdns.on("error", (error) => {
    failed(error);
    broken = true;
  });
  contain(mdns, filter, failed);
  bonjour.publish({
    name: id,
    type: "agent",
    port,
    // Ids are random, so names do not collide; with a probe the clone of a node would stay silent.
    probe: false,
    txt: { id, cluster, tls: tls ? "1" : "0", v: version },
  });
  const browser = bonjour.find({ type: "agent" });
  // Forged adverts must not fill the memory: the browser keeps every name that it has heard.
  const heard = (service: Heard) => {
    if (browser.services.length > limits.members) broken = true;
    const addresses = addressesOf(service, options);
    if (addresses.length > 0) options.found(addresses);
  };
  browser.on("up", heard);
  browser.on("txt-update", heard);
  browser.on("srv-update", heard);
  return {
    ask: () => browser.update(),
    isBroken: () => broken,
    close: () => {
      browser.stop();
      bonjour.destroy();
    },
  };
}

/**
 * Packets beyond the filter's rate are dropped before they are decoded. Deno takes a new buffer of
 * `recvBufferSize`, on Linux of twice that, for each packet; with its default of 64 KiB a flood takes
 * more than a gigabyte until the next garbage collection.
 */
function openSocket(filter: PacketFilter): Socket {
  const recvBufferSize = maxPacketBytes / (Deno.build.os === "linux" ? 2 : 1);
  const socket = createSocket({ type: "udp4", reuseAddr: true, recvBufferSize });
  const emit = socket.emit.bind(socket) as (event: string, ...args: unknown[]) => boolean;
  const admitted = (event: string, ...args: unknown[]) =>
    event === "message" && !filter.admits((args[0] as Uint8Array).length)
      ? true
      : emit(event, ...args);
  socket.emit = admitted as typeof socket.emit;
  return socket;
}

/** Packets are anybody's: what a listener throws over one must not end the process. */
function contain(mdns: Emitter, filter: PacketFilter, failed: (error: Error) => void): void {
  const emit = mdns.emit.bind(mdns);
  mdns.emit = (event, ...args) => {
    try {
      const isPacket = event === "query" || event === "response";
      if (isPacket && !filter.accepts(args[0] as object)) return false;
      return emit(event, ...args);
    } catch (error) {
      failed(error instanceof Error ? error : new Error(String(error)));
      return true;
    }
  };
}

/** What of an advert is looked at. None of it is trusted. */
export interface Heard {
  name?: unknown;
  port?: unknown;
  addresses?: unknown;
  referer?: { address?: unknown };
  txt?: Record<string, unknown>;
}

/** Where a node of the same cluster may be; empty for ourselves, other clusters and odd adverts. */
export function addressesOf(
  { txt, port, addresses, referer }: Heard,
  own: Pick<DiscoveryOptions, "id" | "cluster" | "tls">,
): string[] {
  if (typeof txt !== "object" || txt === null) return [];
  if (txt.cluster !== own.cluster || txt.id === own.id) return [];
  if ((txt.tls === "1") !== own.tls) return [];
  if (typeof port !== "number" || !Number.isInteger(port) || port < 1 || port > 65_535) return [];
  // The sender's own address works from here; the others may belong to other networks.
  const all = [referer?.address, ...Array.isArray(addresses) ? addresses : []];
  const hosts = all.filter((each): each is string => typeof each === "string")
    .map((each) => ({ name: "", family: "IPv4" as const, address: each }));
  const usable = usableInterfaces(hosts).map(({ address }) => joinHost(address, port));
  return [...new Set(usable)].slice(0, maxAddresses);
}
