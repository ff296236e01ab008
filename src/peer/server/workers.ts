import { limits } from "../../tasks/limits.ts";
import { TaskError, type WorkerServer } from "../../tasks/service.ts";
import { numberFrom, refFrom, required, streamFrom } from "../from_wire.ts";
import type * as wire from "../gen/agent/v1/agent.ts";
import { conversing, type Serving, unary } from "./calls.ts";
import { sessionHandler } from "./session.ts";

/** `agent.v1.WorkerService`: sessions, and what workers send of their attempts. */
export function workersHandlers(
  workers: WorkerServer,
  serving: Serving,
): wire.WorkerServiceServer {
  return {
    session: sessionHandler(workers, serving),
    uploadLog: conversing(
      serving,
      (requests, respond, from) => receiveLog(workers, requests, respond, from),
    ),
    storeArtifacts: unary(serving, async (request: wire.StoreArtifactsRequest, _by, from) => {
      const { ref, files } = request;
      return { refused: await workers.storeArtifacts(refFrom(ref), files, from) };
    }),
    uploadArtifact: conversing(
      serving,
      (requests, respond, from) => receiveArtifact(workers, requests, respond, from),
    ),
  };
}

/** Stored bytes after which they are acknowledged, so that the worker's window never runs dry. */
const acknowledgeBytes = 1024 * 1024;

async function receiveLog(
  workers: WorkerServer,
  requests: AsyncIterable<wire.UploadLogRequest>,
  respond: (response: wire.UploadLogResponse) => Promise<void>,
  from: string,
): Promise<void> {
  const messages = requests[Symbol.asyncIterator]();
  const first = (await messages.next()).value as wire.UploadLogRequest | undefined;
  if (first === undefined) return;
  await using upload = await workers.uploadLog(refFrom(first.ref), from);
  const acknowledge = (complete: boolean) =>
    respond({
      stdoutOffset: BigInt(upload.offsets.stdout),
      stderrOffset: BigInt(upload.offsets.stderr),
      complete,
    });
  await acknowledge(false);
  let unacknowledged = 0;
  for (let message: wire.UploadLogRequest | undefined = first; message !== undefined;) {
    if (message.data.length > 0) {
      const data = bounded(message.data);
      await upload.append(streamFrom(message.stream), numberFrom(message.offset), data);
      unacknowledged += data.length;
    }
    if (message.end !== undefined) {
      const { stdoutBytes, stderrBytes } = message.end;
      await upload.end({ stdout: numberFrom(stdoutBytes), stderr: numberFrom(stderrBytes) });
      return await acknowledge(true);
    }
    if (unacknowledged >= acknowledgeBytes) {
      await acknowledge(false);
      unacknowledged = 0;
    }
    message = (await messages.next()).value;
  }
}

async function receiveArtifact(
  workers: WorkerServer,
  requests: AsyncIterable<wire.UploadArtifactRequest>,
  respond: (response: wire.UploadArtifactResponse) => Promise<void>,
  from: string,
): Promise<void> {
  const messages = requests[Symbol.asyncIterator]();
  const first = (await messages.next()).value as wire.UploadArtifactRequest | undefined;
  if (first === undefined) return;
  if (first.message?.$case !== "start") {
    throw new TaskError("invalid", "The first message of an upload must say what it is");
  }
  const { ref, path, size, mode } = first.message.value;
  const file = { path, size: numberFrom(size), mode };
  await using upload = await workers.uploadArtifact(refFrom(ref), file, from);
  const acknowledge = (complete: boolean) => respond({ offset: BigInt(upload.offset), complete });
  await acknowledge(false);
  let unacknowledged = 0;
  while (true) {
    const next = await messages.next();
    if (next.done) return;
    const message = required("The message", next.value.message);
    if (message.$case === "end") {
      await upload.end(message.value.sha256);
      return await acknowledge(true);
    }
    if (message.$case !== "chunk") {
      throw new TaskError("invalid", "This call already has an upload");
    }
    const data = bounded(message.value.data);
    await upload.append(numberFrom(message.value.offset), data);
    unacknowledged += data.length;
    if (unacknowledged >= acknowledgeBytes) {
      await acknowledge(false);
      unacknowledged = 0;
    }
  }
}

function bounded(chunk: Uint8Array): Uint8Array {
  if (chunk.length <= limits.maxChunkBytes) return chunk;
  throw new TaskError("invalid", `A chunk is longer than ${limits.maxChunkBytes} bytes`);
}
