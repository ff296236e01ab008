import { TaskError } from "../../tasks/service.ts";
import { statusCodes } from "../codes.ts";
import type { Method } from "./call.ts";
import type { Dialled } from "./channel.ts";

/**
 * Bytes on their way that the coordinator has not yet stored. It acknowledges each 1 MiB, so the
 * window never runs dry; without one, a fast task would fill the memory instead.
 */
const windowBytes = 2 * 1024 * 1024;
/** At most; below 64 KiB a stream is slow, and beyond this nothing is gained. */
export const chunkBytes = 256 * 1024;

/** Longest time in which the coordinator stores nothing of what it has; its disk may be slow. */
const answerWithinMs = 30_000;

/**
 * One upload: messages go out while the window has room, and answers come back. It fails once, and
 * from then on every wait throws that error.
 */
export interface UploadStream<Request> {
  /** Settles when the message is on its way and the window has room again. */
  send(message: Request, bytes: number): Promise<void>;
  /** Settles when the coordinator has answered the first message, or that all is complete. */
  answered(what: "first" | "complete"): Promise<void>;
  dispose(): void;
}

export async function openUpload<Request, Response extends { complete: boolean }>(
  dialled: Dialled,
  method: Method<Request, Response>,
  /** Takes note of an answer; returns how many of the bytes sent are stored. */
  stored: (answer: Response) => number,
  withinMs = answerWithinMs,
): Promise<UploadStream<Request>> {
  await dialled.ready();
  const first = settled();
  const complete = settled();
  let sent = 0;
  let acknowledged = 0;
  let writable = true;
  let isComplete = false;
  let failure: TaskError | undefined;
  let waiting: (() => void)[] = [];
  const wake = () => {
    const all = waiting;
    waiting = [];
    all.forEach((each) => each());
  };

  const fail = (error: TaskError) => {
    failure ??= error;
    first.reject(failure);
    complete.reject(failure);
    wake();
  };
  const { heard, owed } = patience(withinMs, (error) => {
    fail(error);
    call.cancel();
  });
  const call = dialled.call(method, {
    data(answer) {
      heard();
      try {
        acknowledged = stored(answer);
      } catch (error) {
        dialled.meaning(error).then(fail, fail);
        return call.cancel();
      }
      first.resolve();
      if (answer.complete) {
        isComplete = true;
        complete.resolve();
      }
      wake();
    },
    drained() {
      writable = true;
      wake();
    },
    ended(status) {
      if (status.code !== statusCodes.ok) return void dialled.meaning(status).then(fail, fail);
      fail(new TaskError("unavailable", "The coordinator ended the upload"));
    },
  });

  return {
    async send(message, bytes) {
      if (failure !== undefined) throw failure;
      sent += bytes;
      writable = call.write(message);
      while (failure === undefined && (!writable || sent - acknowledged >= windowBytes)) {
        await owed(new Promise<void>((resolve) => waiting.push(resolve)));
      }
      if (failure !== undefined) throw failure;
    },
    answered: (what) => owed((what === "first" ? first : complete).promise),
    dispose() {
      if (failure === undefined) call.end();
      // The coordinator ends a complete upload. Cancelling it would reset the call, and a coordinator
      // closes connections with too many resets.
      if (!isComplete) call.cancel();
      fail(new TaskError("unavailable", "The upload was closed"));
    },
  };
}

/** Calls `late` where something is owed, and nothing was heard for that long. */
function patience(withinMs: number, late: (error: TaskError) => void) {
  let waiters = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const heard = () => {
    clearTimeout(timer);
    if (waiters === 0) return;
    const why = `The coordinator answered no upload for ${withinMs / 1_000} s`;
    timer = setTimeout(() => late(new TaskError("unavailable", why)), withinMs);
  };
  return {
    heard,
    async owed(what: Promise<void>): Promise<void> {
      if (++waiters === 1) heard();
      try {
        await what;
      } finally {
        if (--waiters === 0) clearTimeout(timer);
      }
    },
  };
}

/** A promise whose rejection may stay unhandled. */
function settled(): PromiseWithResolvers<void> {
  const deferred = Promise.withResolvers<void>();
  deferred.promise.catch(() => {});
  return deferred;
}
