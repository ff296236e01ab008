import assert from "node:assert/strict";
import { eventually } from "../../../tests/support/eventually.ts";
import { fakeCoordinator } from "../../../tests/support/fake_coordinator.ts";
import { grpcClient } from "../../../tests/support/grpc_client.ts";
import { silentLog } from "../../../tests/support/silent_log.ts";
import { systemClock } from "../../base/clock.ts";
import { limits } from "../../tasks/limits.ts";
import * as wire from "../gen/agent/v1/agent.ts";
import { protocolVersion } from "../protocol.ts";
import { servePeer } from "../server.ts";
import { wireBytes } from "../to_wire.ts";

const noBytes = wireBytes(new Uint8Array());

function finished(taskId: string): wire.Finished {
  const [startedAt, finishedAt] = [new Date(1), new Date(2)];
  return {
    ...{ ref: { taskId, attempt: 1, fence: 1n }, state: wire.TaskState.TASK_STATE_SUCCEEDED },
    ...{ exitCode: 0, signal: "", reason: "", startedAt, finishedAt },
    ...{ stdoutBytes: 0n, stderrBytes: 0n, stdout: noBytes, stderr: noBytes },
  };
}

/** A worker by others, and what it was sent. */
function openSession(port: number, takesBatches: boolean) {
  const address = `127.0.0.1:${port}`;
  const client = grpcClient(wire.WorkerServiceService, address);
  const call = client.session();
  const received: wire.SessionResponse["message"][] = [];
  let failed: string | undefined;
  call.on("data", ({ message }: wire.SessionResponse) => received.push(message));
  call.on("error", (error: Error) => failed = error.message);
  const send = (message: wire.SessionRequest["message"]) => call.write({ message });
  const value = {
    ...{ minProtocol: protocolVersion, maxProtocol: protocolVersion, workerId: "w1", slots: 1 },
    ...{ instance: "instance-1", home: "", version: "1", labels: new Map(), held: [] },
    ...{ resources: new Map(), warnings: [], takesBatches, keepsTaskLeases: true },
  };
  send({ $case: "hello", value });
  return {
    send,
    received,
    failed: () => failed,
    [Symbol.dispose]: () => {
      call.cancel();
      client.close();
    },
  };
}

Deno.test("acknowledgements of one turn share a message with a worker that takes that", async () => {
  const coordinator = fakeCoordinator();
  const results = () =>
    coordinator.events.filter((event) => JSON.stringify(event).includes('"succeeded"')).length;
  const env = { clock: systemClock, log: silentLog };
  const listen = { host: "127.0.0.1", port: 0, mode: { mode: "h2c" } } as const;
  const stop = new AbortController().signal;
  await using server = await servePeer({ ...listen, ...coordinator, env }, stop);
  for (const takesBatches of [true, false]) {
    using session = openSession(server.port, takesBatches);
    await eventually(10_000, () => session.received.length === 1);
    const before = results();
    session.send({
      $case: "finishedBatch",
      value: { finished: ["a", "b"].map(finished) },
    });
    await eventually(10_000, () => results() === before + 2);
    for (const taskId of ["a", "b"]) {
      coordinator.sink().finishedAck({ taskId, attempt: 1, fence: 1 }, false);
    }
    const expected = takesBatches ? ["finishedAckBatch"] : ["finishedAck", "finishedAck"];
    await eventually(10_000, () => session.received.length === 1 + expected.length);
    assert.deepEqual(session.received.slice(1).map((message) => message?.$case), expected);
    const many = Array.from({ length: limits.maxResults + 1 }, () => finished("c"));
    session.send({ $case: "finishedBatch", value: { finished: many } });
    await eventually(10_000, () => session.failed() !== undefined);
    assert.match(session.failed()!, /More than 100 results/);
    assert.equal(results(), before + 2);
  }
});
