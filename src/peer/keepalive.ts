import type { ChannelOptions } from "@grpc/grpc-js";

/**
 * Finds connections whose other end is gone without a word (a cable pulled, a firewall that forgot
 * them), on both sides. Sessions notice by their heartbeats long before; this is for whoever follows
 * a task. Routers forget idle connections after a few minutes at the earliest.
 */
export const keepaliveTimes = { periodMs: 20_000, answerMs: 10_000 } as const;

/**
 * The server's side: pings of HTTP/2. On Deno 2.7 a ping seems to fail as soon as it is sent, upon
 * which gRPC ends the connection, and what it leaves behind crashes the process at its end; there the
 * system's own probes have to do. Clients ask instead; see client/keepalive.ts.
 */
export function serverKeepalive(denoVersion: string): ChannelOptions {
  if (!pingsWork(denoVersion)) return {};
  return {
    "grpc.keepalive_time_ms": keepaliveTimes.periodMs,
    "grpc.keepalive_timeout_ms": keepaliveTimes.answerMs,
  };
}

/** Exported for its test. */
export function pingsWork(denoVersion: string): boolean {
  const [major = 0, minor = 0] = denoVersion.split(".").map(Number);
  return major > 2 || (major === 2 && minor >= 9);
}
