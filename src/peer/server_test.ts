import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";
import { join } from "node:path";
import { fakeCoordinator, sampleSpec } from "../../tests/support/fake_coordinator.ts";
import { type Issued, makeAuthority } from "../../tests/support/openssl.ts";
import { temporaryFolder } from "../../tests/support/temporary.ts";
import { eventually } from "../../tests/support/eventually.ts";
import { systemClock } from "../base/clock.ts";
import { UserError } from "../base/errors.ts";
import { createLog } from "../base/log.ts";
import { silentLog } from "../../tests/support/silent_log.ts";
import { Metadata } from "@grpc/grpc-js";
import { limits } from "../tasks/limits.ts";
import { TaskError } from "../tasks/service.ts";
import { dialCoordinator } from "./client.ts";
import * as wire from "./gen/agent/v1/agent.ts";
import type { PeerMode } from "../tls/mode.ts";
import { servePeer } from "./server.ts";
import { callersOf } from "./server/caller.ts";
import { wireSpec } from "./to_wire.ts";

const env = { clock: systemClock, log: silentLog };
const { signal } = new AbortController();
const h2c: PeerMode = { mode: "h2c" };
const loopback = { host: "127.0.0.1", port: 0 };

Deno.test("a server with mTLS refuses callers that cannot prove who they are", async (t) => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path);
  const foreign = await makeAuthority(folder.path, "foreign");
  const own = await ca.issue("server");
  const mode: PeerMode = { mode: "mtls", ...own, clientCaFile: ca.caFile, skipVerify: false };
  const fake = fakeCoordinator();
  await using server = await servePeer({ ...loopback, mode, ...fake, env }, signal);
  const answers = (client: Issued | undefined, minVersion: "TLSv1.2" | "TLSv1.3" = "TLSv1.2") =>
    new Promise<boolean>((resolve) => {
      const socket = connectTls({
        port: server.port,
        host: "127.0.0.1",
        ca: Deno.readTextFileSync(ca.caFile),
        ALPNProtocols: ["h2"],
        minVersion,
        ...(client === undefined ? {} : {
          cert: Deno.readTextFileSync(client.certFile),
          key: Deno.readTextFileSync(client.keyFile),
        }),
      });
      socket.once("data", () => {
        resolve(true);
        socket.destroy();
      });
      socket.once("error", () => resolve(false));
      socket.once("close", () => resolve(false));
    });
  const cases: [string, Issued | undefined, boolean][] = [
    ["with a good certificate, none of it", await ca.issue("client"), true],
    ["without a certificate", undefined, false],
    ["with one of a CA of the same name", await foreign.issue("client"), false],
    ["with an expired one", await ca.issue("expired", { days: -1 }), false],
    ["with one for servers only", await ca.issue("other", { usage: "serverAuth" }), false],
  ];
  for (const [name, client, accepted] of cases) {
    await t.step(name, async () => assert.equal(await answers(client), accepted));
  }
  await t.step("by a version before TLS 1.2", async () => {
    const { code } = await new Deno.Command("openssl", {
      args: ["s_client", "-connect", server.address, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).output();
    assert.notEqual(code, 0);
  });
  await t.step("and prefers TLS 1.3", async () => {
    const { stdout } = await new Deno.Command("openssl", {
      args: ["s_client", "-connect", server.address],
      stdin: "null",
      stderr: "null",
    }).output();
    assert.match(new TextDecoder().decode(stdout), /TLSv1\.3/);
  });
});

Deno.test("a server does not start with files that it cannot use", async (t) => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path);
  const [good, other] = [await ca.issue("good"), await ca.issue("other")];
  const empty = join(folder.path, "empty.crt");
  await Deno.writeTextFile(empty, "");
  const missing = join(folder.path, "missing.crt");
  const { certFile, keyFile } = good;
  const cases: Record<string, Partial<Issued> & { clientCaFile?: string }> = {
    "a certificate without its key": { certFile },
    "a key without its certificate": { keyFile },
    "neither": {},
    "a missing certificate": { certFile: missing, keyFile },
    "an empty certificate": { certFile: empty, keyFile },
    "another certificate's key": { certFile, keyFile: other.keyFile },
    "a pair that TLS cannot use": await ca.issue("short", { key: "rsa:1024" }),
    "a CA file that is empty": { ...good, clientCaFile: empty },
    "a CA file that is missing": { ...good, clientCaFile: missing },
    "a CA file that is a folder": { ...good, clientCaFile: folder.path },
    "a CA file that is a key": { ...good, clientCaFile: keyFile },
  };
  for (const [name, files] of Object.entries(cases)) {
    await t.step(name, async () => {
      const mode: PeerMode = { mode: "mtls", ...files, skipVerify: false };
      await assert.rejects(
        servePeer({ ...loopback, mode, ...fakeCoordinator(), env }, signal),
        (error) => error instanceof UserError && /^[A-Z"].*[^.]$/.test(error.message),
      );
    });
  }
});

Deno.test("a server with an expired certificate starts, and says so", async () => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path);
  const expired = await ca.issue("expired", { days: -1 });
  let lines = "";
  const write = (line: string) => void (lines += line);
  const log = createLog({ level: "info", format: "json", now: Date.now, write });
  const mode: PeerMode = { mode: "tls", ...expired, skipVerify: false };
  const options = { ...loopback, mode, ...fakeCoordinator(), env: { clock: systemClock, log } };
  await using server = await servePeer(options, signal);
  assert.match(server.trouble() ?? "", /^the certificate "CN=expired" expired on /);
  await eventually(2000, () => /callers refuse this coordinator/.test(lines));
});

Deno.test("a server whose clock is behind its certificate starts, and names the clock", async () => {
  await using folder = await temporaryFolder();
  const ca = await makeAuthority(folder.path);
  let lines = "";
  const write = (line: string) => void (lines += line);
  const log = createLog({ level: "info", format: "json", now: Date.now, write });
  const clock = { ...systemClock, now: () => Date.now() - 2 * 86_400_000 };
  const mode: PeerMode = { mode: "tls", ...await ca.issue("leaf"), skipVerify: false };
  const options = { ...loopback, mode, ...fakeCoordinator(), env: { clock, log } };
  await using server = await servePeer(options, signal);
  assert.match(server.trouble() ?? "", /valid only from .* and the clock of this host says/);
  await eventually(2000, () => /Set the clock of this host/.test(lines));
});

Deno.test("an address in use is reported as such", async () => {
  await using first = await servePeer(
    { ...loopback, mode: h2c, ...fakeCoordinator(), env },
    signal,
  );
  await assert.rejects(
    servePeer({ ...loopback, port: first.port, mode: h2c, ...fakeCoordinator(), env }, signal),
    /^UserError: Could not listen on "127\.0\.0\.1:\d+": another program uses the port$/,
  );
});

Deno.test("garbage is refused with a status and harms no other caller", async (t) => {
  const fake = fakeCoordinator();
  let lines = "";
  const write = (line: string) => void (lines += line);
  const log = createLog({ level: "info", format: "json", now: Date.now, write });
  const options = { ...loopback, mode: h2c, ...fake, env: { clock: systemClock, log } };
  await using server = await servePeer(options, signal);
  await using coordinator = await dialCoordinator(server.address, h2c, env);
  await using raw = rawClient(server.address);
  const unharmed = async () => assert.equal((await coordinator.tasks.listWorkers()).length, 1);
  const submit = "/agent.v1.TaskService/Submit";
  const getTask = "/agent.v1.TaskService/GetTask";

  const cases: [string, string, Uint8Array, number][] = [
    ["bytes that are no message", submit, framed(new Uint8Array([0xff, 0xff, 0xff, 0xff])), 3],
    ["no message at all", submit, new Uint8Array(), 12],
    ["a truncated message", submit, framed(new Uint8Array(10)).subarray(0, 7), 12],
    ["a message beyond the limit", submit, framed(new Uint8Array(limits.maxMessageBytes + 1)), 8],
    ["a length beyond the limit", submit, new Uint8Array([0, 0xff, 0xff, 0xff, 0xff]), 8],
    ["an unknown method", "/agent.v1.TaskService/Nothing", framed(new Uint8Array()), 12],
    ["an unknown task", getTask, request(wire.GetTaskRequest, { id: "t9", specsOnce: false }), 5],
    ["text that is not UTF-8", submit, badText(), 3],
    ["a submit without a task", submit, request(wire.SubmitRequest, submitting({})), 3],
  ];
  for (const [name, path, body, code] of cases) {
    await t.step(name, async () => {
      assert.equal((await raw.call(path, body)).status, code);
      await unharmed();
    });
  }
  await t.step("a session that does not begin with Hello", async () => {
    const beat = { message: { $case: "heartbeat" as const, value: { sequence: 1n, trouble: "" } } };
    const body = request(wire.SessionRequest, beat);
    assert.equal((await raw.call("/agent.v1.WorkerService/Session", body)).status, 3);
  });
  for (
    const method of ["TaskService/ReadLog", "TaskService/ReadArtifact", "WorkerService/UploadLog"]
  ) {
    await t.step(`a ${method} of bytes that are no message`, async () => {
      const body = framed(new Uint8Array([0xff, 0xff, 0xff, 0xff]));
      assert.equal((await raw.call(`/agent.v1.${method}`, body)).status, 3);
    });
    await t.step(`a ${method} without a request`, async () => {
      assert.equal((await raw.call(`/agent.v1.${method}`, new Uint8Array())).status, 0);
    });
  }
  await t.step("not even HTTP/2", async () => {
    await new Promise<void>((resolve) => {
      const socket = connectTcp(server.port, "127.0.0.1", () => {
        socket.write(crypto.getRandomValues(new Uint8Array(10_000)));
      });
      socket.on("data", () => {});
      socket.on("error", () => resolve());
      socket.on("close", () => resolve());
    });
    await unharmed();
  });
  await t.step("a defect of ours tells nothing but where to look", async () => {
    const spec = { ...sampleSpec, argv: ["boom"] };
    const refused = await coordinator.tasks.submit(spec).catch((error) => error);
    assert.ok(refused instanceof TaskError);
    assert.equal(refused.code, "internal");
    const [, reference] = /see "([0-9a-f]{8})" in the coordinator's log/.exec(refused.message)!;
    assert.match(lines, new RegExp(`"reference":"${reference}".*secret internals`));
  });
});

Deno.test("content that the protocol does not allow is refused as invalid", async (t) => {
  const fake = fakeCoordinator();
  await using server = await servePeer({ ...loopback, mode: h2c, ...fake, env }, signal);
  await using raw = rawClient(server.address);
  const ref = { taskId: "t1", attempt: 1, fence: 1n };
  const upload = { ref, path: "a", size: 1n, mode: 0o644 };
  const log = { ref, stream: wire.Stream.STREAM_STDOUT, offset: 0n, end: undefined };
  const tooLong = Buffer.alloc(limits.maxChunkBytes + 1);
  const spec = wireSpec(sampleSpec);
  const wrong: Record<string, [path: string, body: Uint8Array]> = {
    "no task": ["TaskService/Submit", request(wire.SubmitRequest, submitting({}))],
    "a number beyond measure": [
      "TaskService/Submit",
      request(wire.SubmitRequest, submitting({ spec: { ...spec, timeoutMs: 2n ** 63n } })),
    ],
    "a state that there is not": [
      "TaskService/ListTasks",
      request(wire.ListTasksRequest, {
        states: [99],
        limit: 0,
        before: "",
        submitter: "",
        specsOnce: false,
      }),
    ],
    "an upload without an attempt": [
      "WorkerService/UploadArtifact",
      request(wire.UploadArtifactRequest, {
        message: { $case: "start", value: { ...upload, ref: undefined } },
      }),
    ],
    "a chunk before the start": [
      "WorkerService/UploadArtifact",
      request(wire.UploadArtifactRequest, {
        message: { $case: "chunk", value: { offset: 0n, data: Buffer.from("a") } },
      }),
    ],
    "a chunk that is too long": [
      "WorkerService/UploadLog",
      request(wire.UploadLogRequest, { ...log, data: tooLong }),
    ],
    "a stream that there is not": [
      "WorkerService/UploadLog",
      request(wire.UploadLogRequest, { ...log, stream: 99 as wire.Stream, data: Buffer.from("a") }),
    ],
  };
  for (const [name, [path, body]] of Object.entries(wrong)) {
    await t.step(name, async () => {
      assert.equal((await raw.call(`/agent.v1.${path}`, body)).status, 3);
    });
  }
  assert.equal(fake.added.length, 0);
});

/** A submit of the program "\xff\xff". */
function badText(): Uint8Array {
  const spec = { ...wireSpec(sampleSpec), argv: ["@@"] };
  const body = request(wire.SubmitRequest, submitting({ spec }));
  return body.map((byte) => byte === 0x40 ? 0xff : byte);
}

function submitting(part: Partial<wire.SubmitRequest>): wire.SubmitRequest {
  return {
    spec: undefined,
    array: undefined,
    idempotencyKey: "",
    moreRanges: [],
    lines: [],
    ...part,
  };
}

function request<T>(type: wire.MessageFns<T>, message: T): Uint8Array {
  return framed(type.encode(message).finish());
}

/** A gRPC message: not compressed, length, bytes. */
function framed(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(5 + message.length);
  new DataView(frame.buffer).setUint32(1, message.length);
  frame.set(message, 5);
  return frame;
}

/** A client that sends any bytes. */
function rawClient(address: string): AsyncDisposable & {
  call(path: string, body: Uint8Array): Promise<{ status: number }>;
} {
  const session: ClientHttp2Session = connectHttp2(`http://${address}`);
  return {
    call: (path, body) =>
      new Promise((resolve, reject) => {
        const stream = session.request({
          ":method": "POST",
          ":path": path,
          "content-type": "application/grpc",
          te: "trailers",
        });
        const answer = (headers: Record<string, unknown>) => {
          const status = headers["grpc-status"];
          if (status !== undefined) resolve({ status: Number(status) });
        };
        stream.on("response", answer);
        stream.on("trailers", answer);
        stream.on("data", () => {});
        stream.on("error", reject);
        stream.end(Buffer.from(body));
      }),
    [Symbol.asyncDispose]: () => Promise.resolve(session.destroy()),
  };
}

Deno.test("a caller's address is written as one that can be dialled", () => {
  const seen = (peer: string) => {
    const call = { getPeer: () => peer, metadata: new Metadata(), getAuthContext: () => ({}) };
    return callersOf(h2c)(call).address;
  };
  assert.equal(seen("10.0.0.1:5"), "10.0.0.1:5");
  assert.equal(seen("fd00::2:5"), "[fd00::2]:5");
  assert.equal(seen("::ffff:10.0.0.1:5"), "10.0.0.1:5");
});
