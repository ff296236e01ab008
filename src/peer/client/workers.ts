import { Buffer } from "node:buffer";
import type { ArtifactUpload, LogOffsets, LogUpload, WorkerService } from "../../tasks/service.ts";
import type { AttemptRef } from "../../tasks/task.ts";
import { numberFrom } from "../from_wire.ts";
import * as wire from "../gen/agent/v1/agent.ts";
import { wireBytes, wireRef, wireStream } from "../to_wire.ts";
import type { Dialled } from "./channel.ts";
import { ask } from "./read.ts";
import { openSession } from "./session.ts";
import { chunkBytes, openUpload } from "./upload.ts";

/** The worker service of the coordinator at the other end of one connection. */
export function remoteWorkers(dialled: Dialled): WorkerService {
  let most = chunkBytes;
  const limited = (bytes: number) => most = Math.min(chunkBytes, bytes);
  return {
    connect: (hello, sink) => openSession(dialled, hello, sink, limited),
    uploadLog: (ref, stored) => sendLog(dialled, ref, most, stored),
    storeArtifacts: async (ref, files) => {
      const wired = files.map((file) => ({ ...file, data: wireBytes(file.data) }));
      const request = { ref: wireRef(ref), files: wired };
      const method = wire.WorkerServiceService.storeArtifacts;
      return (await ask(dialled, method, request)).refused;
    },
    uploadArtifact: (ref, file) => sendArtifact(dialled, ref, file, most),
  };
}

async function sendLog(
  dialled: Dialled,
  ref: AttemptRef,
  most: number,
  told: () => void = () => {},
): Promise<LogUpload> {
  const offsets: LogOffsets = { stdout: 0, stderr: 0 };
  /** What was stored before this call does not count into its window. */
  let before: number | undefined;
  const upload = await openUpload(
    dialled,
    wire.WorkerServiceService.uploadLog,
    (answer) => {
      offsets.stdout = numberFrom(answer.stdoutOffset);
      offsets.stderr = numberFrom(answer.stderrOffset);
      before ??= offsets.stdout + offsets.stderr;
      told();
      return offsets.stdout + offsets.stderr - before;
    },
  );
  const empty = {
    ref: undefined,
    stream: wire.Stream.STREAM_UNSPECIFIED,
    offset: 0n,
    data: Buffer.alloc(0),
    end: undefined,
  };
  await upload.send({ ...empty, ref: wireRef(ref) }, 0);
  await upload.answered("first");
  return {
    offsets,
    async append(stream, offset, data) {
      for (let at = 0; at < data.length; at += most) {
        const chunk = wireBytes(data.subarray(at, at + most));
        const message = { stream: wireStream[stream], offset: BigInt(offset + at), data: chunk };
        await upload.send({ ...empty, ...message }, chunk.length);
      }
    },
    async end({ stdout, stderr }) {
      const end = { stdoutBytes: BigInt(stdout), stderrBytes: BigInt(stderr) };
      await upload.send({ ...empty, end }, 0);
      await upload.answered("complete");
    },
    [Symbol.asyncDispose]: () => Promise.resolve(upload.dispose()),
  };
}

async function sendArtifact(
  dialled: Dialled,
  ref: AttemptRef,
  file: { path: string; size: number; mode: number },
  most: number,
): Promise<ArtifactUpload> {
  const progress = { offset: 0 };
  let before: number | undefined;
  const upload = await openUpload(
    dialled,
    wire.WorkerServiceService.uploadArtifact,
    (answer) => {
      progress.offset = numberFrom(answer.offset);
      before ??= progress.offset;
      return progress.offset - before;
    },
  );
  const start = { ref: wireRef(ref), path: file.path, size: BigInt(file.size), mode: file.mode };
  await upload.send({ message: { $case: "start", value: start } }, 0);
  await upload.answered("first");
  return {
    get offset() {
      return progress.offset;
    },
    async append(offset, data) {
      for (let at = 0; at < data.length; at += most) {
        const chunk = wireBytes(data.subarray(at, at + most));
        const value = { offset: BigInt(offset + at), data: chunk };
        await upload.send({ message: { $case: "chunk", value } }, chunk.length);
      }
    },
    async end(sha256) {
      await upload.send({ message: { $case: "end", value: { sha256 } } }, 0);
      await upload.answered("complete");
    },
    [Symbol.asyncDispose]: () => Promise.resolve(upload.dispose()),
  };
}
