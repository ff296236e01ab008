/** Answers of a node that come as lines. */
import { TaskError } from "../tasks/service.ts";
import { type NodeClient, NodeRefusal } from "./node_client.ts";
import { taskError } from "./task_errors.ts";

/** A long answer of a node; errors are those of a task service. */
export async function* stream(
  node: NodeClient,
  path: string,
  signal: AbortSignal,
  asked: Parameters<NodeClient["stream"]>[2] = {},
): AsyncGenerator<Uint8Array> {
  try {
    yield* await node.stream(path, signal, asked);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof NodeRefusal) throw taskError(error);
    // The node, or its coordinator, went away in the middle of its answer.
    throw new TaskError("unavailable", "The node's answer was cut off", undefined, {
      cause: error,
    });
  }
}

/** No line of these streams is longer: a piece of a log has at most 1 MiB. */
const maxLineChars = 16 * 1024 * 1024;

export async function* lines(
  source: AsyncIterable<Uint8Array>,
  end: string,
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of source) {
    text += decoder.decode(chunk, { stream: true });
    const whole = text.split(end);
    text = whole.pop()!;
    if (text.length > maxLineChars) {
      throw new TaskError("internal", "The node sent an endless line");
    }
    yield* whole;
  }
}

export function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TaskError("unavailable", "The node's answer was cut off", undefined, {
      cause: error,
    });
  }
}
