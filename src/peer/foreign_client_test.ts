import assert from "node:assert/strict";
import { join } from "node:path";
import { component } from "../../tests/support/component.ts";
import { fakeCoordinator } from "../../tests/support/fake_coordinator.ts";
import { makeAuthority } from "../../tests/support/openssl.ts";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import { systemClock } from "../base/clock.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import type { PeerMode } from "../tls/mode.ts";
import { servePeer } from "./server.ts";

/** The generic gRPC client of the Go world, where `go install` puts it. */
async function findGrpcurl(): Promise<string | undefined> {
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  folders.push(join(Deno.env.get("HOME") ?? "/root", "go", "bin"));
  for (const folder of folders) {
    const path = join(folder, "grpcurl");
    if (await Deno.stat(path).then(({ isFile }) => isFile, () => false)) return path;
  }
  return undefined;
}

const grpcurl = await findGrpcurl();

Deno.test({
  name: "grpcurl finds, describes and calls the services",
  ...await component("grpcurl", () => grpcurl === undefined ? "not installed" : undefined),
  fn: async (t) => {
    await using folder = await temporaryFolder();
    const ca = await makeAuthority(folder.path);
    const own = await ca.issue("own");
    const mode: PeerMode = { mode: "mtls", ...own, clientCaFile: ca.caFile, skipVerify: false };
    const stop = new AbortController();
    const env = { clock: systemClock, log: silentLog };
    const options = { host: "127.0.0.1", port: 0, mode, ...fakeCoordinator(), env };
    await using server = await servePeer(options, stop.signal);
    const run = async (...args: string[]) => {
      const tls = ["-cacert", ca.caFile, "-cert", own.certFile, "-key", own.keyFile];
      const command = new Deno.Command(grpcurl!, { args: [...tls, ...args], stderr: "inherit" });
      return new TextDecoder().decode((await command.output()).stdout);
    };

    await t.step("list", async () => {
      assert.deepEqual((await run(server.address, "list")).trim().split("\n").toSorted(), [
        "agent.v1.FleetService",
        "agent.v1.StateService",
        "agent.v1.TaskService",
        "agent.v1.WorkerService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
      ]);
    });
    await t.step("describe", async () => {
      const text = await run(server.address, "describe", "agent.v1.TaskSpec");
      assert.match(text, /repeated string argv = 1;/);
    });
    await t.step("call", async () => {
      const text = await run(server.address, "agent.v1.FleetService/ListWorkers");
      assert.equal(JSON.parse(text).workers[0].id, "w1");
    });
    await t.step("health", async () => {
      const service = JSON.stringify({ service: "agent.v1.TaskService" });
      const check = ["-d", service, server.address, "grpc.health.v1.Health/Check"];
      assert.equal(JSON.parse(await run(...check)).status, "SERVING");
      stop.abort();
      assert.equal(JSON.parse(await run(...check)).status, "NOT_SERVING");
    });
  },
});
