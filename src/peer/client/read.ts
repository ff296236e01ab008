import { TaskError } from "../../tasks/service.ts";
import { statusCodes } from "../codes.ts";
import type { ReadWindow } from "../gen/agent/v1/agent.ts";
import type { CallStatus } from "../status.ts";
import type { Call, Method } from "./call.ts";
import { callTimes, type Dialled } from "./channel.ts";

/** A unary call with its deadline. */
export async function ask<Request, Response>(
  dialled: Dialled,
  method: Method<Request, Response>,
  request: Request,
): Promise<Response> {
  await dialled.ready().catch((error) => {
    throw error instanceof TaskError ? unsent(error) : error;
  });
  let answer: Response | undefined;
  const status = await new Promise<CallStatus>((ended) => {
    const data = (response: Response) => answer = response;
    const call = dialled.call(method, { data, ended }, callTimes.answerMs);
    call.write(request);
    call.end();
  });
  if (status.code !== statusCodes.ok) throw await dialled.meaning(status);
  if (answer === undefined) throw new TaskError("internal", "The coordinator answered nothing");
  return answer;
}

/** The same error, of a call that had no connection to be sent over. */
function unsent({ code, message, next, cause }: TaskError): TaskError {
  return new TaskError(code, message, undefined, { next, cause, unsent: true });
}

/** Answers that may wait for their reader before the call is told to pause. */
const waitingAnswers = 16;

export interface ReadOptions {
  /** The stream ends quietly when it aborts. */
  signal?: AbortSignal | undefined;
  /** For answers that come in parts but without waiting. */
  timeoutMs?: number;
}

/** Asks once, and reads the stream of answers to its end, at the pace of the caller. */
export async function* read<Request, Response>(
  dialled: Dialled,
  method: Method<Request, Response>,
  request: Request,
  options: ReadOptions = {},
): AsyncGenerator<Response> {
  const start = (call: Call<Request>) => {
    call.write(request);
    call.end();
  };
  yield* answers(dialled, method, start, options);
}

/** Reads the answers of a call that `start` begins. */
async function* answers<Request, Response>(
  dialled: Dialled,
  method: Method<Request, Response>,
  start: (call: Call<Request>) => void,
  { signal, timeoutMs }: ReadOptions,
): AsyncGenerator<Response> {
  if (signal?.aborted) return;
  await dialled.ready(signal);
  const arrived: Response[] = [];
  let status: CallStatus | undefined;
  let wake = () => {};
  const call = dialled.call(method, {
    data(response) {
      arrived.push(response);
      if (arrived.length >= waitingAnswers) call.pause();
      wake();
    },
    ended(end) {
      status = end;
      wake();
    },
  }, timeoutMs);
  const cancel = () => call.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  try {
    start(call);
    for (;;) {
      while (arrived.length > 0 && !signal?.aborted) yield arrived.shift()!;
      if (signal?.aborted) return;
      if (status !== undefined) break;
      call.resume();
      if (arrived.length > 0 || status !== undefined) continue;
      await new Promise<void>((resolve) => wake = resolve);
    }
    if (status.code !== statusCodes.ok) throw await dialled.meaning(status);
  } finally {
    signal?.removeEventListener("abort", cancel);
    // The caller needs no more.
    if (status === undefined) call.cancel();
  }
}

/** Bytes on their way to a reader, which acknowledges each quarter that it has read. */
const readWindowBytes = 2 * 1024 * 1024;

/**
 * Reads bytes at the pace of the caller: the coordinator never has more than the window on its way.
 *
 * @param request a message of the call: the first one with what is asked for, or a later one.
 */
export async function* readBytes<Request, Response>(
  dialled: Dialled,
  method: Method<Request, Response>,
  request: (window: ReadWindow) => Request,
  bytesOf: (response: Response) => number,
  signal: AbortSignal,
): AsyncGenerator<Response> {
  let call: Call<Request> | undefined;
  const start = (opened: Call<Request>) => {
    call = opened;
    call.write(request({ bytes: BigInt(readWindowBytes), read: 0n }));
  };
  let bytes = 0;
  let acknowledged = 0;
  for await (const response of answers(dialled, method, start, { signal })) {
    const size = bytesOf(response);
    const isLast = size === 0;
    if (!isLast) yield response;
    bytes += size;
    if (!isLast && bytes - acknowledged < readWindowBytes / 4) continue;
    acknowledged = bytes;
    call?.write(request({ bytes: 0n, read: BigInt(bytes) }));
  }
}
