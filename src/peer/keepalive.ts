import type { ChannelOptions } from "@grpc/grpc-js";

/**
 * Finds connections whose other end is gone without a word (a cable pulled, a firewall that forgot
 * them), on both sides. Sessions notice by their heartbeats long before; this is for whoever follows
 * a task. Routers forget idle connections after a few minutes at the earliest.
 */
export const keepaliveOptions: ChannelOptions = {
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
};
