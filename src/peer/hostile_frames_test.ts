import assert from "node:assert/strict";
import { connect } from "node:tls";
import { fakeCoordinator } from "../../tests/support/fake_coordinator.ts";
import {
  callFrame,
  endedCalls,
  endHeaders,
  endStream,
  frame,
  frameTypes,
  openRaw,
} from "../../tests/support/http2_frames.ts";
import { makeAuthority } from "../../tests/support/openssl.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import { eventually } from "../../tests/support/eventually.ts";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import { systemClock } from "../base/clock.ts";
import { dialCoordinator } from "./client.ts";
import { servePeer } from "./server.ts";

const env = { clock: systemClock, log: silentLog };

async function startServer() {
  return await servePeer(
    { host: "127.0.0.1", port: 0, mode: { mode: "h2c" }, ...fakeCoordinator(), env },
    new AbortController().signal,
  );
}

/** A whole call of a method that answers at once. */
function one(n: number): number[] {
  const stream = 2 * n + 1;
  const empty = frame(frameTypes.data, endStream, stream, [0, 0, 0, 0, 0]);
  return [...callFrame(stream, "/agent.v1.FleetService/ListWorkers"), ...empty];
}

async function assertServes(address: string) {
  await using client = await dialCoordinator(address, { mode: "h2c" }, env);
  assert.equal((await client.tasks.listWorkers())[0]?.id, "w1");
}

Deno.test("a call whose connection breaks in the same packet does not end the process", async () => {
  await using server = await startServer();
  for (const path of ["/agent.v1.TaskService/Nothing", "/agent.v1.TaskService/GetTask"]) {
    using caller = await openRaw(server.port);
    // HEADERS on stream 0 is a connection error (RFC 9113, 6.2).
    const broken = frame(frameTypes.headers, endHeaders, 0, [0x82]);
    await caller.send([...callFrame(1, path), ...broken]);
    await caller.over;
  }
  await assertServes(server.address);
});

Deno.test("frames are read in whatever pieces they come", async () => {
  await using server = await startServer();
  using caller = await openRaw(server.port);
  const empty = frame(frameTypes.data, endStream, 1, [0, 0, 0, 0, 0]);
  for (const byte of [...callFrame(1, "/agent.v1.FleetService/ListWorkers"), ...empty]) {
    await caller.send([byte]);
  }
  const text = () => new TextDecoder("latin1").decode(caller.received());
  await eventually(5_000, () => text().includes("w1"));
});

Deno.test("calls beyond what a turn takes are answered in later ones", async () => {
  await using server = await startServer();
  using caller = await openRaw(server.port);
  const calls = 300;
  await caller.send(Array.from({ length: calls }, (_, n) => one(n)).flat());
  await eventually(10_000, () => endedCalls(caller.received()) === calls);
});

Deno.test("calls that come with the end of the TLS handshake are all answered", async () => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path, "ca");
  const { certFile, keyFile } = await ca.issue("server");
  await using server = await servePeer({
    ...{ host: "127.0.0.1", port: 0, ...fakeCoordinator(), env },
    mode: { mode: "tls", certFile, keyFile, skipVerify: false },
  }, new AbortController().signal);
  const calls = 100;
  const preface = [...new TextEncoder().encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")];
  const settings = frame(frameTypes.settings, 0, 0);
  const first = [
    ...preface,
    ...settings,
    ...Array.from({ length: calls }, (_, n) => one(n)).flat(),
  ];
  const came: number[] = [];
  const trust = { ca: await Deno.readTextFile(ca.caFile), checkServerIdentity: () => undefined };
  const socket = connect({ host: "127.0.0.1", port: server.port, ALPNProtocols: ["h2"], ...trust });
  socket.on("data", (data: Uint8Array) => came.push(...data));
  // In several writes, so that the server has several pieces at once.
  for (let at = 0; at < first.length; at += 2_000) {
    socket.write(new Uint8Array(first.slice(at, at + 2_000)));
  }
  await eventually(10_000, () => endedCalls(new Uint8Array(came)) === calls);
  socket.destroy();
});
