import assert from "node:assert/strict";
import { fakeCoordinator } from "../../../tests/support/fake_coordinator.ts";
import { forward } from "../../../tests/support/forwarder.ts";
import { systemClock } from "../../base/clock.ts";
import { silentLog } from "../../../tests/support/silent_log.ts";
import { statusCodes } from "../codes.ts";
import { HealthService } from "../gen/grpc/health/v1/health.ts";
import { servePeer } from "../server.ts";
import { openChannel } from "./channel.ts";
import { checkHealth, keepAlive } from "./keepalive.ts";

Deno.test("a connection is cut when no answer comes, whatever other answers say", async () => {
  const stop = new AbortController();
  const answers = [statusCodes.ok, statusCodes.unimplemented, statusCodes.deadlineExceeded];
  const probed: number[] = [];
  await keepAlive({
    periodMs: 1,
    connected: () => true,
    probe: () => {
      const code = answers[probed.length]!;
      probed.push(code);
      return Promise.resolve({ code, details: "", trailers: {} });
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
  const nothing = { pair: undefined, ca: undefined };
  const channel = openChannel(between.address, { mode: "h2c" }, () => nothing, systemClock);
  const check = async () => {
    await channel.ready();
    const { code } = await checkHealth(channel.call);
    assert.equal(code, statusCodes.ok);
  };
  await check();
  const broken = new Promise<number>((resolve) => {
    const data = () => between.cut();
    const ended = ({ code }: { code: number }) => resolve(code);
    const watching = channel.call(HealthService.watch, { data, ended });
    watching.write({ service: "" });
    watching.end();
  });
  assert.equal(await broken, statusCodes.unavailable);
  await check();
  assert.equal(between.connections, 2);
  channel.close();
});
