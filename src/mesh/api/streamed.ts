/** Answers that are written part by part, no faster than their reader reads. */
import type { ServerResponse } from "node:http";
import { TimeSlices } from "../../base/time_slices.ts";
import { writePiece } from "../../http/stream.ts";
import { alreadySent, type ApiContext, type Node } from "./context.ts";

/** Shared by all answers, so that many long ones at once do not hold the event loop either. */
const slices = new TimeSlices();

/** Parts of this many characters cost few writes and little memory. */
const partLength = 64 * 1024;

/**
 * Answers with `{"<name>": [...], ...rest}`. The list is never one string: 10,000 tasks are many
 * megabytes of JSON, and making them at once would hold the event loop.
 */
export function sendList<T>(
  context: ApiContext,
  node: Node,
  name: string,
  items: Iterable<T>,
  view: (item: T) => unknown,
  rest: object = {},
): Response {
  const { outgoing } = context.env as { outgoing: ServerResponse };
  outgoing.writeHead(200, {
    "content-type": "application/json",
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
  void send(outgoing, node, async () => {
    let part = `{${JSON.stringify(name)}:[`;
    let comma = "";
    for (const item of items) {
      await slices.pace();
      part += comma + JSON.stringify(view(item));
      comma = ",";
      if (part.length < partLength) continue;
      if (!await writePiece(outgoing, part)) return;
      part = "";
    }
    const members = Object.entries(rest)
      .map(([key, value]) => `,${JSON.stringify(key)}:${JSON.stringify(value)}`);
    await writePiece(outgoing, `${part}]${members.join("")}}`);
  });
  return alreadySent();
}

/** What is wrong shows within this time, though a coordinator may be far away. */
const problemMs = 200;

/**
 * Waits until the first part of an answer is there or takes so long that nothing is wrong: the next
 * output of a task may come in hours. A problem that shows later can only cut the answer off.
 */
export async function firstOrLater(first: Promise<unknown>, { clock }: Node): Promise<void> {
  const over = new AbortController();
  const later = clock.sleep(problemMs, over.signal).catch(() => {});
  try {
    await Promise.race([first, later]);
  } finally {
    over.abort();
  }
}

/** The head of an answer of one JSON text a line, which proxies pass on as it comes. */
export function beginLines(outgoing: ServerResponse): void {
  outgoing.writeHead(200, {
    "content-type": "application/x-ndjson",
    "cache-control": "no-store",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
  });
}

/** Runs the sending of an answer whose head is out: a failure can only cut it off. */
export async function send(
  outgoing: ServerResponse,
  { log }: Node,
  write: () => Promise<void>,
): Promise<void> {
  try {
    await write();
    outgoing.end();
  } catch (error) {
    if (!outgoing.destroyed) {
      log.debug("a download was cut off", { reason: error instanceof Error ? error.message : "" });
    }
    outgoing.destroy();
  }
}
