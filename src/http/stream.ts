/** Writing to a response no faster than its reader reads. */
import type { ServerResponse } from "node:http";

/**
 * Writes one piece, and settles when there is room for the next. What is handed over as a web stream
 * is buffered without bound on Deno 2.7 (830 MB for a reader that stalls), so nothing here is.
 *
 * @returns false once the reader is gone.
 */
export function writePiece(response: ServerResponse, piece: string | Uint8Array): Promise<boolean> {
  if (response.destroyed || response.writableEnded) return Promise.resolve(false);
  if (response.write(piece)) return Promise.resolve(true);
  return new Promise((resolve) => {
    const settle = (isOpen: boolean) => {
      response.off("drain", onDrain);
      response.off("close", onClose);
      resolve(isOpen);
    };
    const onDrain = () => settle(true);
    const onClose = () => settle(false);
    response.once("drain", onDrain);
    response.once("close", onClose);
  });
}

/** Aborts when the reader is gone before the response has ended. */
export function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController();
  response.once("close", () => gone.abort(new Error("The reader is gone")));
  return gone.signal;
}
