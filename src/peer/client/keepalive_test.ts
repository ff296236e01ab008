import { Channel, ChannelCredentials, Metadata, status } from "@grpc/grpc-js";
import assert from "node:assert/strict";
import { fakeCoordinator } from "../../../tests/support/fake_coordinator.ts";
import { forward } from "../../../tests/support/forwarder.ts";
import { systemClock } from "../../base/clock.ts";
import { silentLog } from "../../../tests/support/silent_log.ts";
import { HealthClient } from "../gen/grpc/health/v1/health.ts";
import { servePeer } from "../server.ts";
import { Connections, keepAlive } from "./keepalive.ts";

Deno.test("a connection is cut when no answer comes, whatever other answers say", async () => {
  const stop = new AbortController();
  const answers = [undefined, status.UNIMPLEMENTED, status.DEADLINE_EXCEEDED];
  const probed: unknown[] = [];
  await keepAlive({
    periodMs: 1,
    connected: () => true,
    probe: () => {
      const code = answers[probed.length];
      probed.push(code);
      return code === undefined ? Promise.resolve() : Promise.reject({ code });
    },
    cut: () => stop.abort(),
    clock: systemClock,
    signal: stop.signal,
  });
  assert.deepEqual(probed, answers);
});

Deno.test("a channel whose connection was cut dials again at the next call", async () => {
  const stop = new AbortController();
  await using server = await servePeer({
    ...{ host: "127.0.0.1", port: 0, mode: { mode: "h2c" } as const },
    ...fakeCoordinator(),
    env: { clock: systemClock, log: silentLog },
  }, stop.signal);
  await using between = await forward(server.port);
  const connections = new Connections();
  const insecure = ChannelCredentials.createInsecure();
  const channel = new Channel(between.address, connections.follow(insecure), {
    "grpc.initial_reconnect_backoff_ms": 10,
  });
  const health = new HealthClient(between.address, insecure, { channelOverride: channel });
  const check = () =>
    new Promise((resolve, reject) => {
      const metadata = new Metadata({ waitForReady: true });
      health.check({ service: "" }, metadata, (error, answer) => {
        if (error === null) resolve(answer);
        else reject(error);
      });
    });
  await check();
  const watching = health.watch({ service: "" });
  const broken = new Promise<number>((resolve) =>
    watching.on("error", ({ code }) => resolve(code))
  );
  watching.on("data", () => connections.cut());
  assert.equal(await broken, status.UNAVAILABLE);
  await check();
  assert.equal(between.connections, 2);
  channel.close();
});
