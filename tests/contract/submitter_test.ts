import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { systemClock } from "../../src/base/clock.ts";
import type { Log } from "../../src/base/log.ts";
import { dialCoordinator } from "../../src/peer/client.ts";
import { servePeer } from "../../src/peer/server.ts";
import { EngineHarness, FakeWorker } from "../support/engine.ts";
import { spec } from "../support/spec.ts";
import { silentLog } from "../support/silent_log.ts";
import { temporaryFolder } from "../support/temporary.ts";
import { type Issued, makeAuthority } from "../support/openssl.ts";

/** A log that keeps the lines about changes. */
function keptLog() {
  const lines: Record<string, unknown>[] = [];
  const log: Log = {
    ...silentLog,
    info: (msg, fields = {}) => void lines.push({ msg, ...fields }),
  };
  return { log, lines };
}

function fingerprint({ certFile }: Issued): string {
  const { fingerprint256 } = new X509Certificate(Deno.readTextFileSync(certFile));
  return fingerprint256.replaceAll(":", "").toLowerCase();
}

Deno.test("a task, a worker and a value keep the verified name of who made them", async () => {
  await using folder = await temporaryFolder();
  await using harness = new EngineHarness();
  const ca = await makeAuthority(folder.path);
  const [own, alice, bob] = [
    await ca.issue("server"),
    await ca.issue("alice"),
    await ca.issue("bob"),
  ];
  const { log, lines } = keptLog();
  await using server = await servePeer({
    host: "127.0.0.1",
    port: 0,
    mode: { mode: "mtls", ...own, clientCaFile: ca.caFile, skipVerify: false },
    tasks: harness.engine.served,
    workers: harness.engine.served,
    env: { clock: systemClock, log },
  }, new AbortController().signal);
  const dial = (issued: Issued) =>
    dialCoordinator(
      server.address,
      { mode: "mtls", ...issued, clientCaFile: ca.caFile, skipVerify: false },
      { clock: systemClock, log: silentLog },
    );
  await using asAlice = await dial(alice);
  await using asBob = await dial(bob);
  const forged = { submitter: { name: "bob", fingerprint: "0".repeat(64) } };
  const { id } = await asAlice.tasks.submit(spec(), forged);
  const array = await asBob.tasks.submit(spec(), { array: { first: 0, last: 1 } });
  const byAlice = { name: "alice", fingerprint: fingerprint(alice) };
  assert.deepEqual((await asBob.tasks.getTask(id))[0]!.submitter, byAlice);
  const listed = async (submitter: string) =>
    (await asBob.tasks.listTasks({ submitter, states: ["queued"] })).tasks.map((task) => task.id);
  assert.deepEqual(await listed("alice"), [id]);
  assert.deepEqual(await listed(fingerprint(bob)), array.taskIds.toReversed());
  assert.deepEqual(await listed("carol"), []);

  const value = new Uint8Array([1]);
  assert.deepEqual((await asAlice.tasks.putState("ns", "k", value)).updatedBy, byAlice);
  assert.deepEqual((await asBob.tasks.getState("ns", "k")).updatedBy, byAlice);
  await asBob.tasks.cancelTask(id);
  const asked = lines.filter(({ msg }) => msg === "change asked for");
  assert.deepEqual(
    asked.map(({ call, what, caller, fingerprint }) => [call, what, caller, fingerprint]),
    [
      ["PutState", "k", "alice", byAlice.fingerprint],
      ["CancelTask", id, "bob", fingerprint(bob)],
    ],
  );
  await FakeWorker.connect(harness.engine, { identity: "CN=w1", fingerprint: "ab" });
  const kept = await harness.engine.listWorkers();
  assert.deepEqual([kept[0]!.identity, kept[0]!.fingerprint], ["CN=w1", "ab"]);
  await harness.restart();
  assert.equal((await harness.engine.listWorkers())[0]!.fingerprint, "ab");
  assert.deepEqual((await harness.engine.getTask(id))[0]!.submitter, byAlice);
});
