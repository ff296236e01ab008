import assert from "node:assert/strict";
import { systemClock } from "../base/clock.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import { fakeCoordinator, sampleSpec, sampleTask } from "../../tests/support/fake_coordinator.ts";
import { eventually } from "../../tests/support/eventually.ts";
import { type Authority, makeAuthority } from "../../tests/support/openssl.ts";
import { dialCoordinator } from "./client.ts";
import type { PeerMode } from "../tls/mode.ts";
import { servePeer } from "./server.ts";
import { TaskError, type WorkerSink } from "../tasks/service.ts";

const env = { clock: systemClock, log: silentLog };

async function modes(ca: Authority): Promise<Record<string, [PeerMode, PeerMode]>> {
  const server = await ca.issue("server");
  const client = await ca.issue("client");
  const { caFile } = ca;
  const plain: PeerMode = { mode: "h2c" };
  return {
    h2c: [plain, plain],
    tls: [
      { mode: "tls", ...server, skipVerify: false },
      { mode: "tls", clientCaFile: caFile, skipVerify: false },
    ],
    mtls: [
      { mode: "mtls", ...server, clientCaFile: caFile, skipVerify: false },
      { mode: "mtls", ...client, clientCaFile: caFile, skipVerify: false },
    ],
  };
}

Deno.test("every mode carries calls, streams, sessions and uploads", async (t) => {
  const folder = await Deno.makeTempDir();
  try {
    const ca = await makeAuthority(folder);
    for (const [name, [serverMode, clientMode]] of Object.entries(await modes(ca))) {
      await t.step(name, () => converse(serverMode, clientMode));
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

async function converse(serverMode: PeerMode, clientMode: PeerMode): Promise<void> {
  const fake = fakeCoordinator();
  const stop = new AbortController();
  const serving = { host: "127.0.0.1", port: 0, mode: serverMode, ...fake, env };
  await using server = await servePeer(serving, stop.signal);
  await using coordinator = await dialCoordinator(server.address, clientMode, env);
  const { tasks, workers } = coordinator;

  const submitted = await tasks.submit(sampleSpec, { idempotencyKey: "k" });
  assert.deepEqual(submitted, { id: "t1", taskIds: ["t1"], existing: false });
  assert.deepEqual(await tasks.getTask("t1"), [{ ...sampleTask("t1"), reason: "k" }]);
  await assert.rejects(tasks.getTask("t9"), (error: TaskError) => error.code === "not_found");

  const sink = recordingSink();
  const session = await workers.connect({
    workerId: "w1",
    instance: "i1",
    home: undefined,
    version: "0.1.0",
    labels: { gpu: "no" },
    slots: 2,
    held: [{ taskId: "t1", attempt: 1, fence: 7 }],
    warnings: [],
    address: "",
    identity: undefined,
  }, sink);
  assert.deepEqual(session.lost, [{ taskId: "t1", attempt: 1, fence: 7 }]);
  assert.equal(fake.hellos[0]?.identity, serverMode.mode === "mtls" ? "CN=client" : undefined);
  await session.heartbeat();
  session.credit(3);
  await until(() => assert.deepEqual(fake.events, [["credit", 3]]));
  const ref = { taskId: "t1", attempt: 1, fence: 8 };
  fake.sink().assign([{ ref, spec: sampleSpec, arrayId: undefined, arrayIndex: 3 }]);
  fake.sink().cancel(ref);
  await until(() => assert.equal(sink.said.length, 2));
  assert.deepEqual(sink.said[0], [
    "assign",
    [{ ref, spec: sampleSpec, arrayId: undefined, arrayIndex: 3 }],
  ]);

  {
    await using log = await workers.uploadLog(ref);
    const data = new Uint8Array(6 * 1024 * 1024).fill(65);
    await log.append("stdout", 0, data);
    await log.append("stderr", 0, data.subarray(0, 5));
    await log.end({ stdout: data.length, stderr: 5 });
    assert.deepEqual(log.offsets, { stdout: data.length, stderr: 5 });
  }
  let bytes = 0;
  const { signal } = new AbortController();
  for await (const piece of tasks.readLog({ taskId: "t1" }, signal)) bytes += piece.data.length;
  assert.equal(bytes, 6 * 1024 * 1024);

  fake.sink().end(new TaskError("unavailable", "Stopping"));
  await until(() => assert.equal(sink.said.at(-1)?.[0], "end"));
  assert.deepEqual(sink.said.at(-1), ["end", "unavailable", "Stopping"]);
}

function until(check: () => void): Promise<boolean> {
  return eventually(5000, () => {
    check();
    return true;
  });
}

function recordingSink(): WorkerSink & { said: unknown[][] } {
  const said: unknown[][] = [];
  return {
    said,
    assign: (assignments) => void said.push(["assign", assignments]),
    cancel: (ref) => void said.push(["cancel", ref]),
    finishedAck: (ref, superseded) => void said.push(["finishedAck", ref, superseded]),
    drain: (draining) => void said.push(["drain", draining]),
    hold: (holdMs) => void said.push(["hold", holdMs]),
    end: (error) => void said.push(["end", error.code, error.message]),
  };
}
