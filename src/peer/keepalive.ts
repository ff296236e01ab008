import type { ChannelOptions } from "@grpc/grpc-js";
import { pingsWork } from "../deno/http2_pings.ts";

/**
 * Finds connections whose other end vanished without a packet (a cable pulled, a firewall that forgot
 * them), on both sides. Sessions notice by their heartbeats long before; this is for clients that
 * follow a task. Routers forget idle connections after a few minutes at the earliest.
 */
export const keepaliveTimes = { periodMs: 20_000, answerMs: 10_000 } as const;

/**
 * The server's side: pings of HTTP/2, where they work; elsewhere the system's own probes have to do.
 * Clients call instead; see client/keepalive.ts.
 */
export function serverKeepalive(denoVersion: string): ChannelOptions {
  if (!pingsWork(denoVersion)) return {};
  return {
    "grpc.keepalive_time_ms": keepaliveTimes.periodMs,
    "grpc.keepalive_timeout_ms": keepaliveTimes.answerMs,
  };
}
