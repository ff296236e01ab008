import { type handleBidiStreamingCall, type ServerDuplexStream, status } from "@grpc/grpc-js";
import { limits } from "../../tasks/limits.ts";
import {
  type ServedSession,
  TaskError,
  type WorkerHello,
  type WorkerServer,
  type WorkerSession,
  type WorkerSink,
} from "../../tasks/service.ts";
import type { Caller } from "./caller.ts";
import { Batch } from "../batch.ts";
import { refFrom, required, resultFrom, textFrom, timeFrom } from "../from_wire.ts";
import * as wire from "../gen/agent/v1/agent.ts";
import { protocolVersion } from "../protocol.ts";
import { assignmentBytes, wireAssignment, wireRef } from "../to_wire.ts";
import { decoded, parts, type Serving, statusFor } from "./calls.ts";

type Call = ServerDuplexStream<wire.SessionRequest, wire.SessionResponse>;
type Request = NonNullable<wire.SessionRequest["message"]>;
type Response = NonNullable<wire.SessionResponse["message"]>;

/** Maximum time from the start of the stream to Hello. */
const helloWithinMs = 10_000;

/** Maximum bytes of unread assignments; a worker beyond it gets no more. */
const maxUnsentBytes = 1024 * 1024;

/**
 * One worker's session. Messages are handled in the order of their arrival, but not before the
 * coordinator has answered Hello.
 */
export function sessionHandler(
  workers: WorkerServer,
  serving: Serving,
): handleBidiStreamingCall<wire.SessionRequest, wire.SessionResponse> {
  return (call) => {
    let session: ServedSession | undefined;
    let ended = false;
    /** What the coordinator says before Welcome is written, which comes first. */
    const early: Response[] = [];

    let unsentBytes = 0;
    let isPaused = false;

    const send = (message: Response, bytes = 0) => {
      if (ended || call.cancelled) return;
      if (session === undefined) return void early.push(message);
      unsentBytes += bytes;
      const isRoomy = call.write({ message }, () => {
        unsentBytes -= bytes;
        if (bytes > 0 && unsentBytes <= maxUnsentBytes) session?.blocked(false);
      });
      if (unsentBytes > maxUnsentBytes) session.blocked(true);
      if (isRoomy || isPaused) return;
      // Pause reading while our writes are blocked, or the answers would pile up here.
      isPaused = true;
      call.pause();
      call.once("drain", () => {
        isPaused = false;
        call.resume();
      });
    };
    const close = (error?: unknown) => {
      if (ended) return;
      ended = true;
      clearTimeout(impatience);
      const refused = error === undefined || call.cancelled
        ? undefined
        : statusFor(serving, call.getPath(), error);
      const code = refused?.code ?? (call.cancelled ? status.CANCELLED : status.OK);
      serving.counts.ended(call.getPath(), code);
      if (refused !== undefined) call.emit("error", refused);
      else if (!call.cancelled) call.end();
      session?.closed();
    };
    const impatience = setTimeout(
      () => close(new TaskError("invalid", "No Hello came within 10 s")),
      helloWithinMs,
    );

    const open = async (hello: wire.Hello) => {
      clearTimeout(impatience);
      checkProtocol(hello);
      const accepted = await workers.connect(
        helloFrom(hello, serving.callerOf(call)),
        sink(send, close, hello.takesBatches),
      );
      if (ended) return accepted.closed();
      session = accepted;
      call.write({ message: { $case: "welcome", value: welcome(session) } });
      early.forEach(send);
    };

    call.on("data", (request: wire.SessionRequest) => {
      try {
        const message = required("The message", decoded(request).message);
        if (session !== undefined) return receive(session, message, send, close);
        if (message.$case !== "hello") throw new TaskError("invalid", "The first message is Hello");
        call.pause();
        open(message.value).then(() => call.resume(), close);
      } catch (error) {
        close(error);
      }
    });
    call.on("end", () => close());
    call.on("cancelled", () => close());
    call.on("error", () => close());
  };
}

function receive(
  session: WorkerSession,
  message: Request,
  send: (message: Response) => void,
  close: (error: unknown) => void,
): void {
  switch (message.$case) {
    case "hello":
      throw new TaskError("invalid", "Hello was said before");
    case "heartbeat": {
      const { sequence, trouble } = message.value;
      session.heartbeat(textFrom(trouble))
        .then(() => send({ $case: "heartbeatAck", value: { sequence } }), close);
      return;
    }
    case "credit":
      return session.credit(message.value.count);
    case "started": {
      const at = required("A time", timeFrom(message.value.at));
      return session.started(refFrom(message.value.ref), at);
    }
    case "finished":
      return session.finished(resultFrom(message.value));
    case "finishedBatch": {
      const { finished } = message.value;
      if (finished.length > limits.maxResults) {
        throw new TaskError("invalid", `More than ${limits.maxResults} results in one message`);
      }
      for (const each of finished) session.finished(resultFrom(each));
      return;
    }
    case "released":
      return session.released(message.value.refs.map(refFrom), textFrom(message.value.reason));
  }
}

function sink(
  send: (message: Response, bytes?: number) => void,
  close: (error: unknown) => void,
  takesBatches: boolean,
): WorkerSink {
  const acks = new Batch<wire.FinishedAck>((acks) =>
    acks.length > 1 && takesBatches
      ? send({ $case: "finishedAckBatch", value: { acks } })
      : acks.forEach((value) => send({ $case: "finishedAck", value }))
  );
  return {
    assign(assignments) {
      for (const part of parts(assignments, assignmentBytes)) {
        const bytes = part.reduce((sum, each) => sum + assignmentBytes(each), 0);
        send({ $case: "assign", value: { assignments: part.map(wireAssignment) } }, bytes);
      }
    },
    cancel: (ref) => send({ $case: "cancel", value: { ref: wireRef(ref) } }),
    finishedAck: (ref, superseded) => acks.add({ ref: wireRef(ref), superseded }),
    drain: (draining) => send({ $case: "drain", value: { draining } }),
    hold: (holdMs) => send({ $case: "hold", value: { holdMs: BigInt(Math.ceil(holdMs)) } }),
    end(error) {
      acks.flush();
      close(error);
    },
  };
}

function checkProtocol({ minProtocol, maxProtocol }: wire.Hello): void {
  if (minProtocol > protocolVersion || maxProtocol < protocolVersion) {
    throw new TaskError(
      "wrong_state",
      `The worker speaks versions ${minProtocol} to ${maxProtocol} of the protocol, ` +
        `the coordinator only ${protocolVersion}; update the older of the two`,
    );
  }
}

function helloFrom(hello: wire.Hello, { address, certificate }: Caller): WorkerHello {
  return {
    workerId: hello.workerId,
    instance: hello.instance,
    home: hello.home === "" ? undefined : hello.home,
    keepsTaskLeases: hello.keepsTaskLeases,
    version: hello.version,
    labels: Object.fromEntries(hello.labels),
    slots: hello.slots,
    ...(hello.resources.size === 0 ? {} : { resources: Object.fromEntries(hello.resources) }),
    held: hello.held.map(refFrom),
    warnings: hello.warnings,
    address,
    identity: certificate?.subject,
    fingerprint: certificate?.identity.fingerprint,
    ...(certificate === undefined ? {} : {
      certificate: {
        publicKey: certificate.publicKey,
        isBound: certificate.role === "worker",
        namesId: certificate.names.has(hello.workerId.toLowerCase()),
      },
    }),
  };
}

function welcome(session: WorkerSession): wire.Welcome {
  return {
    protocol: protocolVersion,
    heartbeatMs: session.heartbeatMs,
    leaseMs: session.leaseMs,
    maxChunkBytes: limits.maxChunkBytes,
    lost: session.lost.map(wireRef),
    draining: session.draining,
    takesBatches: true,
    inlineBytes: session.inlineBytes,
    smallFileBytes: session.smallFileBytes ?? 0,
  };
}
