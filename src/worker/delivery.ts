import { anySignal } from "../deno/any_signal.ts";
import type { Clock } from "../base/clock.ts";
import { joinBytes } from "../base/join_bytes.ts";
import { limits } from "../tasks/limits.ts";
import type { Collected, OutputStream } from "../tasks/orders.ts";
import type { SmallFile } from "../tasks/task.ts";
import { type LogUpload, TaskError, type WorkerService } from "../tasks/service.ts";
import { type RunningAttempt, streams } from "./running_attempt.ts";
import { pieceBytes } from "./output_buffer.ts";

export interface Delivery {
  service: WorkerService;
  /** Aborts with the session; the next session continues. */
  signal: AbortSignal;
  clock: Clock;
  /** Called when the runner may send this many more bytes. */
  taken: (attempt: RunningAttempt, stream: OutputStream, bytes: number) => void;
  /** The size of files that go together; see `WorkerSession`. */
  smallFileBytes: number;
  /** Reads a file that the runner has collected. */
  readFile: (path: string) => AsyncIterable<Uint8Array>;
}

/**
 * Delivers everything of one attempt except the result: its output while it runs, and its artifacts.
 * Resolves when they are stored and the result may be sent, or when the attempt is gone.
 *
 * @throws {TaskError} if the coordinator refuses something, or is gone.
 */
export async function deliver(attempt: RunningAttempt, delivery: Delivery): Promise<void> {
  while (!attempt.hasOutput && !attempt.isOver) await changeOf(attempt, delivery);
  if (attempt.hasOutput && attempt.phase !== "gone") await deliverOutput(attempt, delivery);
  while (!attempt.isOver) await changeOf(attempt, delivery);
  if (attempt.phase === "gone") return;
  await deliverSmallFiles(attempt, delivery);
  for (const file of attempt.files) await deliverFile(attempt, file, delivery);
}

/** Read at a time: each is an open file. */
const readsAtOnce = 25;

/** Delivers small files, many in a message. One that is not what was collected is left. */
async function deliverSmallFiles(attempt: RunningAttempt, delivery: Delivery): Promise<void> {
  const { service, signal, smallFileBytes } = delivery;
  if (service.storeArtifacts === undefined || smallFileBytes === 0) return;
  const small = attempt.files.filter(({ size }) => size <= smallFileBytes);
  for (const part of inMessages(small)) {
    const files: SmallFile[] = [];
    for (let at = 0; at < part.length; at += readsAtOnce) {
      signal.throwIfAborted();
      const some = part.slice(at, at + readsAtOnce).map(
        async ({ path, mode, sha256, size, file }) => {
          const pieces = await Array.fromAsync(delivery.readFile(file));
          const data = joinBytes(pieces);
          return data.length === size ? [{ path, mode, sha256, data }] : [];
        },
      );
      files.push(...(await Promise.all(some)).flat());
    }
    const refused = await service.storeArtifacts(attempt.ref, files);
    for (const { path, reason } of refused) {
      attempt.note(`Artifact "${path}" was refused: ${reason}`);
    }
    // A later session must not upload them again.
    const sent = new Set(files.map(({ path }) => path));
    attempt.files = attempt.files.filter(({ path }) => !sent.has(path));
  }
}

/** Parts that fit into one message each. */
function* inMessages(files: Collected[]): Generator<Collected[]> {
  let part: Collected[] = [];
  let bytes = 0;
  for (const file of files) {
    const isFull = part.length === limits.maxSmallFiles ||
      bytes + file.size > limits.maxSmallFilesBytes;
    if (isFull) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(file);
    bytes += file.size;
  }
  if (part.length > 0) yield part;
}

async function deliverOutput(attempt: RunningAttempt, delivery: Delivery): Promise<void> {
  const { service, clock } = delivery;
  await using upload = await service.uploadLog(attempt.ref, () => attempt.changed());
  const sent = { ...upload.offsets };
  const release = (stream: OutputStream, offset: number) => {
    const room = attempt.outputs[stream].release(offset, clock.monotonic());
    if (room > 0) delivery.taken(attempt, stream, room);
  };
  while (attempt.phase !== "gone") {
    delivery.signal.throwIfAborted();
    // Read first: output that arrives after this is sent in the next round.
    const isOver = attempt.isOver;
    let isIdle = true;
    for (const stream of streams) {
      const output = attempt.outputs[stream];
      // A coordinator whose disk lost the last seconds asks for bytes that are no longer here.
      if (sent[stream] < output.start) await fill(attempt, stream, sent, output.start, upload);
      if (sent[stream] < output.end) {
        const piece = output.read(sent[stream]);
        // The spool is too short, for example after a crash of the host.
        if (piece.length === 0) await fill(attempt, stream, sent, output.end, upload);
        else await upload.append(stream, sent[stream], piece);
        sent[stream] += piece.length;
        isIdle = false;
      }
      release(stream, Math.min(upload.offsets[stream], sent[stream]));
    }
    if (!isIdle) continue;
    if (isOver) break;
    await changeOf(attempt, delivery);
  }
  if (attempt.phase === "gone") return;
  await upload.end({ stdout: attempt.outputs.stdout.end, stderr: attempt.outputs.stderr.end });
}

/** Replaces lost bytes, so that offsets stay valid, and adds a note to the task. */
async function fill(
  attempt: RunningAttempt,
  stream: OutputStream,
  sent: Record<OutputStream, number>,
  upTo: number,
  upload: LogUpload,
): Promise<void> {
  attempt.note(`${upTo - sent[stream]} bytes of its ${stream} were lost when a host crashed`);
  while (sent[stream] < upTo) {
    const filler = new Uint8Array(Math.min(pieceBytes, upTo - sent[stream])).fill(0x3f);
    await upload.append(stream, sent[stream], filler);
    sent[stream] += filler.length;
  }
}

async function deliverFile(
  attempt: RunningAttempt,
  file: Collected,
  delivery: Delivery,
): Promise<void> {
  const { path, size, mode, sha256 } = file;
  let from = 0;
  const send = async () => {
    await using upload = await delivery.service.uploadArtifact(attempt.ref, { path, size, mode });
    from = upload.offset;
    let at = 0;
    for await (const piece of delivery.readFile(file.file)) {
      delivery.signal.throwIfAborted();
      const rest = piece.subarray(Math.min(piece.length, Math.max(0, from - at)));
      at += piece.length;
      if (rest.length > 0) await upload.append(at - rest.length, rest);
    }
    await upload.end(sha256);
  };
  try {
    await send().catch((error) => {
      // What the coordinator had of it may have been damaged; it has thrown that away.
      if (from > 0 && isRefusal(error)) return send();
      throw error;
    });
  } catch (error) {
    // A path that the coordinator refuses must not lose the task.
    if (!isRefusal(error)) throw error;
    attempt.note(`Artifact "${path}" was refused: ${error.message}`);
  }
  // A later session must not upload it again.
  attempt.files = attempt.files.filter((other) => other !== file);
}

function isRefusal(error: unknown): error is TaskError {
  return error instanceof TaskError && error.code === "invalid";
}

/**
 * Resolves at the attempt's next change: more output, acknowledged output, or its end. Throws when the
 * session is over.
 */
async function changeOf(attempt: RunningAttempt, { signal }: Delivery): Promise<void> {
  signal.throwIfAborted();
  using either = anySignal(signal);
  const over = new Promise<never>((_, reject) => {
    either.addEventListener("abort", () => reject(either.reason), { once: true });
  });
  over.catch(() => {/* The change may win the race. */});
  await Promise.race([attempt.change(), over]);
}
