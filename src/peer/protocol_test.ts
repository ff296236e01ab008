/** Workers of other versions: those that share a version of the protocol work together. */
import assert from "node:assert/strict";
import { fakeCoordinator } from "../../tests/support/fake_coordinator.ts";
import { grpcClient } from "../../tests/support/grpc_client.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import { systemClock } from "../base/clock.ts";
import * as wire from "./gen/agent/v1/agent.ts";
import { protocolVersion } from "./protocol.ts";
import { servePeer } from "./server.ts";

const cases: [string, number, number, RegExp | undefined][] = [
  ["of the same version", protocolVersion, protocolVersion, undefined],
  ["that also speaks a newer one", protocolVersion, protocolVersion + 1, undefined],
  ["that is too old", 0, protocolVersion - 1, /speaks versions 0 to 0 .* update the older/],
  ["that is too new", protocolVersion + 1, protocolVersion + 2, /update the older of the two/],
];

for (const [name, minProtocol, maxProtocol, refusal] of cases) {
  Deno.test(`a worker ${name} is ${refusal ? "refused, with the versions" : "welcome"}`, async () => {
    const env = { clock: systemClock, log: silentLog };
    const fake = fakeCoordinator();
    const { signal } = new AbortController();
    const mode = { mode: "h2c" } as const;
    await using server = await servePeer(
      { host: "127.0.0.1", port: 0, mode, ...fake, env },
      signal,
    );
    const address = `127.0.0.1:${server.port}`;
    const client = grpcClient(wire.WorkerServiceService, address);
    try {
      const call = client.session();
      const answer = new Promise<string>((resolve) => {
        call.on("data", ({ message }: wire.SessionResponse) => resolve(message!.$case));
        call.on("error", ({ details }: { details?: string }) => resolve(details ?? ""));
      });
      const value = {
        ...{ minProtocol, maxProtocol, workerId: "w1", instance: "instance-1", home: "" },
        ...{ version: "1", labels: new Map(), slots: 1, resources: new Map() },
        ...{ held: [], warnings: [], takesBatches: false, keepsTaskLeases: false },
      };
      call.write({ message: { $case: "hello", value } });
      assert.match(await answer, refusal ?? /^welcome$/);
      call.cancel();
    } finally {
      client.close();
    }
  });
}
