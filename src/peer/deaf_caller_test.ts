import {
  ChannelCredentials,
  type ClientDuplexStream,
  makeGenericClientConstructor,
} from "@grpc/grpc-js";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import http2 from "node:http2";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { eventually, settled } from "../../tests/support/eventually.ts";
import { fakeCoordinator } from "../../tests/support/fake_coordinator.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import { systemClock } from "../base/clock.ts";
import { SessionRequest } from "./gen/agent/v1/agent.ts";
import {
  type ServerReflectionRequest,
  ServerReflectionResponse,
  ServerReflectionService,
} from "./gen/grpc/reflection/v1/reflection.ts";
import { prepareHttp2 } from "../deno/http2_sessions.ts";
import { protocolVersion } from "./protocol.ts";
import { servePeer } from "./server.ts";

/** As it is before our own windows are set. */
const plainConnect = http2.connect;

/** A server, and a way to it by which no answer comes while `hears` is false. */
async function deafCaller(coordinator = fakeCoordinator()) {
  prepareHttp2();
  const server = await servePeer({
    ...{ host: "127.0.0.1", port: 0, mode: { mode: "h2c" }, ...coordinator },
    env: { clock: systemClock, log: silentLog },
  }, new AbortController().signal);
  const sockets: Socket[] = [];
  let answers: Socket | undefined;
  const way = createServer((caller) => {
    answers = connect(server.port, "127.0.0.1");
    caller.pipe(answers).pipe(caller);
    for (const socket of [caller, answers]) sockets.push(socket.on("error", () => {}));
  });
  await new Promise<void>((resolve) => way.listen(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${(way.address() as AddressInfo).port}`,
    credentials: ChannelCredentials.createInsecure(),
    set hears(does: boolean) {
      if (does) answers!.pipe(sockets[0]!);
      else answers!.unpipe().pause();
    },
    async [Symbol.asyncDispose]() {
      way.close();
      for (const socket of sockets) socket.destroy();
      await server[Symbol.asyncDispose]();
    },
  };
}

Deno.test("a caller that asks for descriptors and reads none is not answered without end", async () => {
  const { encode } = ServerReflectionResponse;
  let [answered, read] = [0, 0];
  ServerReflectionResponse.encode = (response, writer) => {
    answered++;
    return encode(response, writer);
  };
  await using t = await deafCaller();
  const Client = makeGenericClientConstructor(ServerReflectionService, "reflection");
  const client = new Client(t.address, t.credentials);
  try {
    const call: ClientDuplexStream<ServerReflectionRequest, ServerReflectionResponse> = client
      .serverReflectionInfo!();
    call.on("error", () => {/* It is cancelled at the end. */});
    call.on("data", () => read++);
    const asked = 3_000;
    const ask = () => {
      const value = "agent/v1/agent.proto";
      call.write({ host: "", messageRequest: { $case: "fileByFilename", value } });
    };
    ask();
    await eventually(5_000, () => read === 1);
    t.hears = false;
    for (let n = 1; n < asked; n++) ask();
    const unread = await settled(() => answered);
    assert.ok(unread > 0 && unread < asked / 2, `${unread} answers were not read`);
    t.hears = true;
    await eventually(30_000, () => read === asked);
    call.cancel();
  } finally {
    ServerReflectionResponse.encode = encode;
    client.close();
  }
});

Deno.test("a worker that reads no answers is not read without end", async () => {
  let heard = 0;
  const coordinator = fakeCoordinator();
  const nothing = () => {};
  coordinator.workers.connect = () =>
    Promise.resolve({
      ...{ heartbeatMs: 1_000, leaseMs: 15_000, inlineBytes: 0, draining: false, lost: [] },
      ...{ credit: nothing, started: nothing, finished: nothing, released: nothing },
      blocked: nothing,
      closed: nothing,
      heartbeat: () => Promise.resolve(void heard++),
    });
  await using t = await deafCaller(coordinator);
  // It goes on taking the connection's frames, so that what it sends is not held up.
  const session = plainConnect(`http://${t.address}`, { settings: { initialWindowSize: 100 } });
  try {
    const call = session.request({
      ...{ ":method": "POST", ":path": "/agent.v1.WorkerService/Session", te: "trailers" },
      "content-type": "application/grpc",
    });
    call.on("error", () => {/* It is cut off at the end. */});
    const hello = {
      ...{ minProtocol: protocolVersion, maxProtocol: protocolVersion, workerId: "w1" },
      ...{
        instance: "instance-1",
        home: "",
        version: "1",
        labels: new Map(),
        slots: 1,
        resources: new Map(),
      },
      ...{ held: [], warnings: [], takesBatches: false, keepsTaskLeases: false },
    };
    call.write(framed({ message: { $case: "hello", value: hello } }));
    const beat = framed({ message: { $case: "heartbeat", value: { sequence: 1n, trouble: "" } } });
    const asked = 20_000;
    for (let n = 0; n < asked; n += 100) {
      call.write(Buffer.concat(Array.from({ length: 100 }, () => beat)));
    }
    const unread = await settled(() => heard);
    assert.ok(unread > 0 && unread < asked / 2, `${unread} heartbeats without a reader`);
  } finally {
    session.destroy();
  }
});

/** A message as gRPC puts it on the wire. */
function framed(request: SessionRequest): Buffer {
  const message = SessionRequest.encode(request).finish();
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
