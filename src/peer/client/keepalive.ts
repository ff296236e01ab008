import { every } from "../../base/lifetimes.ts";
import type { Clock } from "../../base/clock.ts";
import { statusCodes } from "../codes.ts";
import { HealthService } from "../gen/grpc/health/v1/health.ts";
import { keepaliveTimes } from "../keepalive.ts";
import type { CallStatus } from "../status.ts";
import type { OpenCall } from "./call.ts";

export interface KeepaliveOptions {
  periodMs: number;
  connected: () => boolean;
  /** Asks the other side for any answer. */
  probe: () => Promise<CallStatus>;
  cut: () => void;
  clock: Clock;
  signal: AbortSignal;
}

/**
 * Closes connections that no longer answer, found by calls of our own: the pings of HTTP/2 do not work on
 * every version of Deno. Otherwise a client that follows a task would wait as long as the system keeps
 * trying to send, and new calls would use the same dead connection.
 */
export async function keepAlive(options: KeepaliveOptions): Promise<void> {
  const { periodMs, connected, probe, cut, clock, signal } = options;
  await every({ periodMs, coarse: true, clock, signal, failed: () => {} }, async () => {
    if (!connected()) return;
    const { code } = await probe();
    // Any other status is an answer.
    if (code === statusCodes.deadlineExceeded && !signal.aborted) cut();
  });
}

/** A call that every coordinator answers at once. */
export function checkHealth(call: OpenCall): Promise<CallStatus> {
  return new Promise((ended) => {
    const check = call(HealthService.check, { data() {}, ended }, keepaliveTimes.answerMs);
    check.write({ service: "" });
    check.end();
  });
}
