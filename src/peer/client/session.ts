import {
  TaskError,
  type WorkerHello,
  type WorkerSession,
  type WorkerSink,
} from "../../tasks/service.ts";
import type { AttemptRef } from "../../tasks/task.ts";
import { limits } from "../../tasks/limits.ts";
import { validateRef, validateSpec } from "../../tasks/validation.ts";
import { Batch } from "../batch.ts";
import { assignmentFrom, numberFrom, refFrom, required } from "../from_wire.ts";
import * as wire from "../gen/agent/v1/agent.ts";
import { statusCodes } from "../codes.ts";
import { protocolVersion } from "../protocol.ts";
import { wireRef, wireResult, wireTime } from "../to_wire.ts";
import type { Dialled } from "./channel.ts";

type Request = NonNullable<wire.SessionRequest["message"]>;
type Response = NonNullable<wire.SessionResponse["message"]>;

/** From Hello to Welcome. The coordinator settles the held leases in between. */
const welcomeWithinMs = 10_000;

interface Waiting {
  resolve: () => void;
  reject: (error: TaskError) => void;
}

/**
 * The worker's side of a session: sends Hello, settles with Welcome, and from then on hands the
 * coordinator's messages to the sink. Heartbeats settle when they are acknowledged, in order.
 */
export async function openSession(
  dialled: Dialled,
  hello: WorkerHello,
  sink: WorkerSink,
  /** Called with what the coordinator accepts, once Welcome has come. */
  limited: (maxChunkBytes: number) => void,
): Promise<WorkerSession> {
  await dialled.ready();
  const beats = new Map<bigint, Waiting>();
  /** "opening" until Welcome; the sink learns of an end only after that. */
  let phase: "opening" | "open" | "ended" = "opening";
  const welcomed = Promise.withResolvers<wire.Welcome>();
  const impatience = setTimeout(
    () => fail(new TaskError("unavailable", "The coordinator did not answer Hello within 10 s")),
    welcomeWithinMs,
  );

  const send = (message: Request) => {
    if (phase !== "ended") call.write({ message });
  };
  const fail = (error: TaskError) => {
    if (phase === "ended") return;
    const former = phase;
    phase = "ended";
    clearTimeout(impatience);
    call.cancel();
    for (const { reject } of beats.values()) reject(error);
    beats.clear();
    if (former === "opening") welcomed.reject(error);
    else sink.end(error);
  };
  const broke = (error: unknown) => {
    dialled.meaning(error).then(fail, fail);
  };

  const call = dialled.call(wire.WorkerServiceService.session, {
    data(response) {
      if (phase === "ended") return;
      try {
        const message = required("The message", response.message);
        if (phase === "open") return tell(message, sink, beats);
        if (message.$case !== "welcome") {
          throw new TaskError("internal", "Welcome did not come first");
        }
        checkWelcome(message.value);
        // What follows waits until the caller has its session in hand.
        call.pause();
        welcomed.resolve(message.value);
      } catch (error) {
        broke(error);
      }
    },
    ended(status) {
      if (status.code !== statusCodes.ok) return broke(status);
      fail(new TaskError("unavailable", "The coordinator ended the session"));
    },
  });
  send({ $case: "hello", value: wireHello(hello) });

  const welcome = await welcomed.promise;
  clearTimeout(impatience);
  phase = "open";
  limited(welcome.maxChunkBytes);
  setTimeout(() => call.resume(), 0);
  return sessionOf(welcome, {
    send,
    beats,
    isOver: () => phase === "ended",
    close() {
      phase = "ended";
      // What was written before is still sent; the coordinator then ends the call.
      call.end();
    },
  });
}

/** A call that Welcome has come on. */
interface Conversation {
  send(message: Request): void;
  /** Heartbeats that wait for their acknowledgement, by sequence. */
  beats: Map<bigint, Waiting>;
  isOver(): boolean;
  close(): void;
}

function sessionOf(welcome: wire.Welcome, call: Conversation): WorkerSession {
  const { beats } = call;
  const results = new Batch<wire.Finished>((finished) =>
    finished.length > 1 && welcome.takesBatches
      ? call.send({ $case: "finishedBatch", value: { finished } })
      : finished.forEach((value) => call.send({ $case: "finished", value }))
  );
  const send = (message: Request) => {
    results.flush();
    call.send(message);
  };
  let sequence = 0n;
  return {
    heartbeatMs: welcome.heartbeatMs,
    leaseMs: welcome.leaseMs,
    draining: welcome.draining,
    inlineBytes: Math.min(welcome.inlineBytes, limits.maxInlineBytes),
    smallFileBytes: Math.min(welcome.smallFileBytes, limits.maxSmallFileBytes),
    lost: welcome.lost.map(refFrom),
    heartbeat: (trouble = "") =>
      new Promise((resolve, reject) => {
        if (call.isOver()) return reject(new TaskError("unavailable", "The session has ended"));
        sequence += 1n;
        beats.set(sequence, { resolve, reject });
        send({ $case: "heartbeat", value: { sequence, trouble } });
      }),
    credit: (count) => send({ $case: "credit", value: { count } }),
    started: (ref, at) =>
      send({ $case: "started", value: { ref: wireRef(ref), at: wireTime(at) } }),
    finished: (result) => results.add(wireResult(result)),
    released: (refs, reason) => send(wireReleased(refs, reason)),
    closed() {
      if (call.isOver()) return;
      results.flush();
      for (const { reject } of beats.values()) {
        reject(new TaskError("unavailable", "The session was closed"));
      }
      beats.clear();
      call.close();
    },
  };
}

/** What the worker sets its timers by. */
function checkWelcome(
  { protocol, heartbeatMs, leaseMs, maxChunkBytes }: wire.Welcome,
): void {
  if (protocol !== protocolVersion) {
    throw new TaskError(
      "wrong_state",
      `The coordinator wants version ${protocol} of the protocol, and the worker speaks only ` +
        `${protocolVersion}; update the older of the two`,
    );
  }
  if (heartbeatMs === 0 || leaseMs <= heartbeatMs || leaseMs > limits.maxLostAfterMs) {
    throw new TaskError(
      "invalid",
      `A heartbeat each ${heartbeatMs} ms and a lease of ${leaseMs} ms cannot be kept`,
    );
  }
  if (maxChunkBytes === 0) throw new TaskError("invalid", "Chunks of no bytes hold no log");
}

function tell(message: Response, sink: WorkerSink, beats: Map<bigint, Waiting>): void {
  switch (message.$case) {
    case "welcome":
      throw new TaskError("internal", "Welcome came twice");
    case "heartbeatAck":
      beats.get(message.value.sequence)?.resolve();
      beats.delete(message.value.sequence);
      return;
    case "assign": {
      const assignments = message.value.assignments.map(assignmentFrom);
      for (const { ref, spec } of assignments) {
        validateRef(ref);
        validateSpec(spec);
      }
      return sink.assign(assignments);
    }
    case "cancel":
      return sink.cancel(refFrom(message.value.ref));
    case "finishedAck":
      return sink.finishedAck(refFrom(message.value.ref), message.value.superseded);
    case "finishedAckBatch":
      for (const { ref, superseded } of message.value.acks) {
        sink.finishedAck(refFrom(ref), superseded);
      }
      return;
    case "drain":
      return sink.drain(message.value.draining);
    case "hold":
      return sink.hold(numberFrom(message.value.holdMs));
  }
}

function wireReleased(refs: AttemptRef[], reason = ""): Request {
  return { $case: "released", value: { refs: refs.map(wireRef), reason } };
}

function wireHello(hello: WorkerHello): wire.Hello {
  return {
    minProtocol: protocolVersion,
    maxProtocol: protocolVersion,
    workerId: hello.workerId,
    instance: hello.instance,
    home: hello.home ?? "",
    version: hello.version,
    labels: new Map(Object.entries(hello.labels)),
    slots: hello.slots,
    resources: new Map(Object.entries(hello.resources ?? {})),
    held: hello.held.map(wireRef),
    warnings: hello.warnings,
    takesBatches: true,
    keepsTaskLeases: true,
  };
}
